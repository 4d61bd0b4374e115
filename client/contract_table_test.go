package client_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/stateraft/stateraft/client"
	"github.com/stateraft/stateraft/internal/contract"
)

// Ensure the client's methods are those of the contract, both ways.
func TestContractMethods(t *testing.T) {
	receivers := map[string]reflect.Type{
		"": reflect.TypeFor[*client.Client](), "State": reflect.TypeFor[*client.State](), "Agent": reflect.TypeFor[*client.Agent](),
	}
	documented := map[string]bool{}
	for _, m := range contract.Methods(t, contractDir) {
		receiver, name, ok := strings.Cut(m.Go, ".")
		if !ok {
			receiver, name = "", m.Go
		}
		if _, has := receivers[receiver].MethodByName(name); !has {
			t.Errorf("there is no %s", m.Go)
		}
		documented[m.Go] = true
		_, called := methods[m.Method]
		_, subscribed := subscriptions[m.Method]
		if called == subscribed {
			t.Errorf("%s is in one of the tests' tables, not %v and %v", m.Method, called, subscribed)
		}
	}
	for receiver, typ := range receivers {
		for i := range typ.NumMethod() {
			if name := receiver + "." + typ.Method(i).Name; receiver != "" && !documented[name] {
				t.Errorf("%s is not in methods.json", name)
			}
		}
	}
}

// Ensure the client's codes are those of the contract, under the names there.
func TestContractCodes(t *testing.T) {
	have := codes(t)
	for _, e := range contract.Errors(t, contractDir) {
		if have[e.Go] != e.Code {
			t.Errorf("%s is %q, want %q", e.Go, have[e.Go], e.Code)
		}
		delete(have, e.Go)
	}
	for name := range have {
		t.Errorf("%s is not in errors.json", name)
	}
}

// codes reads the constants of type Code out of errors.go.
func codes(t *testing.T) map[string]string {
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		typ, _ := spec.Type.(*ast.Ident)
		if literal, ok := spec.Values[0].(*ast.BasicLit); ok && typ != nil && typ.Name == "Code" {
			all[spec.Names[0].Name], _ = strconv.Unquote(literal.Value)
		}
		return true
	})
	return all
}

// Ensure docs/clients.md has the tables of the contract's files, row by row.
func TestContractDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		lines[strings.TrimSpace(line)] = true
	}
	for _, row := range documentedRows(t) {
		if !lines[row] {
			t.Errorf("docs/clients.md lacks\n%s", row)
		}
	}
}

// documentedRows are the rows of the tables that the page must have.
func documentedRows(t *testing.T) (rows []string) {
	row := func(cells ...string) { rows = append(rows, "| "+strings.Join(cells, " | ")+" |") }
	code := func(s string) string { return "`" + s + "`" }
	for _, m := range contract.Methods(t, contractDir) {
		row(code(m.Go), code(m.TypeScript), code(m.Python), m.About)
	}
	for _, e := range contract.Errors(t, contractDir) {
		row(code(e.Code), code(e.Class), statuses(e.Status), e.Meaning, e.Applied, e.Retried)
	}
	yes := func(b bool) string {
		if b {
			return "yes"
		}
		return "–"
	}
	retries := contract.RetryTable(t, contractDir)
	for _, r := range retries.Table {
		row(r.Failure, r.Means, yes(r.Read), yes(r.Write), yes(r.Versioned), yes(r.Keyed), yes(r.Next))
	}
	for _, k := range retries.Kinds {
		row(k.Kind, k.Means)
	}
	return rows
}

func statuses(list []int) string {
	if len(list) == 0 {
		return "–"
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ", "), "[]")
}
