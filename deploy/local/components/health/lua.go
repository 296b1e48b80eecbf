package main

import (
	"context"
	"fmt"
	"time"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// luaJudge runs a script of a resource customization in what Argo CD gives it
// by default: the object as `obj`, a second, and of the standard libraries the
// base, packages and tables. (Its os is left out: it holds nothing but time.)
func luaJudge(script string) judge {
	return func(object *unstructured.Unstructured) (any, error) {
		state := lua.NewState(lua.Options{SkipOpenLibs: true})
		defer state.Close()
		deadline, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		state.SetContext(deadline)
		for name, open := range map[string]lua.LGFunction{
			lua.LoadLibName: lua.OpenPackage,
			lua.BaseLibName: lua.OpenBase,
			lua.TabLibName:  lua.OpenTable,
		} {
			call := lua.P{Fn: state.NewFunction(open), Protect: true}
			if err := state.CallByParam(call, lua.LString(name)); err != nil {
				return nil, err
			}
		}
		state.SetGlobal("obj", toLua(state, object.Object))
		if err := state.DoString(script); err != nil {
			return nil, err
		}
		table, isTable := state.Get(-1).(*lua.LTable)
		if !isTable {
			return nil, fmt.Errorf("the script returns %s instead of a table", state.Get(-1).Type())
		}
		return fromLua(table), nil
	}
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case string:
		return lua.LString(value)
	case int64:
		return lua.LNumber(value)
	case float64:
		return lua.LNumber(value)
	case []any:
		table := state.NewTable()
		for _, item := range value {
			table.Append(toLua(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range value {
			table.RawSetString(key, toLua(state, item))
		}
		return table
	}
	return lua.LNil
}

// fromLua makes an array of a table with numbers as its keys, and of an empty
// one: Lua does not tell an empty array from an empty map.
func fromLua(value lua.LValue) any {
	switch value := value.(type) {
	case lua.LBool:
		return bool(value)
	case lua.LNumber:
		return float64(value)
	case lua.LString:
		return string(value)
	case *lua.LTable:
		object, array := map[string]any{}, []any{}
		value.ForEach(func(key, item lua.LValue) {
			if key.Type() == lua.LTNumber {
				array = append(array, fromLua(item))
			} else {
				object[key.String()] = fromLua(item)
			}
		})
		if len(object) == 0 {
			return array
		}
		return object
	}
	return nil
}
