// The judges of an object's health that GitOps tools use: kstatus, Argo CD's
// Lua and Flux's CEL. For tests: reads objects as JSON, one a line, and prints
// one line of JSON for each.
//
//	health kstatus
//	health lua SCRIPT
//	health cel IN_PROGRESS FAILED CURRENT
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// judge says something about an object that can be written as JSON.
type judge func(*unstructured.Unstructured) (any, error)

func main() {
	chosen, err := choose(os.Args[1:])
	if err == nil {
		err = judgeAll(chosen, os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func choose(arguments []string) (judge, error) {
	switch {
	case len(arguments) == 1 && arguments[0] == "kstatus":
		return kstatus, nil
	case len(arguments) == 2 && arguments[0] == "lua":
		return luaJudge(arguments[1]), nil
	case len(arguments) == 4 && arguments[0] == "cel":
		return celJudge(arguments[1], arguments[2], arguments[3])
	}
	return nil, errors.New("usage: health kstatus | lua SCRIPT | cel IN_PROGRESS FAILED CURRENT")
}

func judgeAll(chosen judge, input io.Reader, output io.Writer) error {
	lines := bufio.NewReader(input)
	encoder := json.NewEncoder(output)
	for {
		line, readError := lines.ReadBytes('\n')
		if len(line) > 1 {
			object := &unstructured.Unstructured{}
			// Unlike encoding/json this leaves integers what they are, as a client of the API server does.
			if err := object.UnmarshalJSON(line); err != nil {
				return err
			}
			result, err := chosen(object)
			if err != nil {
				return err
			}
			if err := encoder.Encode(result); err != nil {
				return err
			}
		}
		if readError == io.EOF {
			return nil
		}
		if readError != nil {
			return readError
		}
	}
}

func kstatus(object *unstructured.Unstructured) (any, error) {
	result, err := status.Compute(object)
	if err != nil {
		return nil, err
	}
	return map[string]string{"status": result.Status.String(), "message": result.Message}, nil
}
