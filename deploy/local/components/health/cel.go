package main

import (
	"fmt"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// celJudge applies the rules of Flux's healthCheckExprs (its RFC 9): first the
// generations are compared, then the first expression that is true decides,
// and without one the object is in progress. As in Flux, the fields of the
// object are the variables, and one that is missing is an error.
func celJudge(inProgress, failed, current string) (judge, error) {
	environment, err := cel.NewEnv(
		cel.HomogeneousAggregateLiterals(),
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.OptionalTypes(),
		ext.Strings(), ext.Sets(), ext.Encoders(),
	)
	if err != nil {
		return nil, err
	}
	type rule struct {
		program cel.Program
		status  status.Status
	}
	var rules []rule
	for _, each := range []struct {
		expression string
		status     status.Status
	}{
		{inProgress, status.InProgressStatus},
		{failed, status.FailedStatus},
		{current, status.CurrentStatus},
	} {
		parsed, issues := environment.Parse(each.expression)
		if issues != nil {
			return nil, issues.Err()
		}
		program, err := environment.Program(parsed)
		if err != nil {
			return nil, err
		}
		rules = append(rules, rule{program, each.status})
	}
	return func(object *unstructured.Unstructured) (any, error) {
		observed, found, err := unstructured.NestedInt64(object.Object, "status", "observedGeneration")
		if err == nil && found && observed != object.GetGeneration() {
			return answer(status.InProgressStatus), nil
		}
		for _, rule := range rules {
			value, _, err := rule.program.Eval(object.Object)
			if err != nil {
				return nil, err
			}
			truth, isBool := value.Value().(bool)
			if !isBool {
				return nil, fmt.Errorf("the expression for %s gives %v", rule.status, value)
			}
			if truth {
				return answer(rule.status), nil
			}
		}
		return answer(status.InProgressStatus), nil
	}, nil
}

func answer(found status.Status) map[string]string {
	return map[string]string{"status": found.String()}
}
