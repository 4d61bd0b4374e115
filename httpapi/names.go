package httpapi

import (
	"strings"

	"github.com/stateraft/stateraft/httpapi/internal/names"
)

// target returns where the request's key lives.
func (r *request) target() (namespace, key string, err error) {
	if namespace, err = r.namespace(); err != nil {
		return "", "", err
	}
	if key, err = r.segment(segKey); err != nil {
		return "", "", err
	}
	return namespace, key, checkName("key", key, names.MaxKeyBytes)
}

// namespace returns the state machine's name for the request's workflow.
func (r *request) namespace() (string, error) {
	workflow, err := r.segment(segWorkflow)
	if err != nil {
		return "", err
	}
	if err := checkName("workflow", workflow, names.MaxWorkflowBytes); err != nil {
		return "", err
	}
	if err := r.allow("workflow", workflow); err != nil {
		return "", err
	}
	return namespaceOf(workflows, r.principal.Project, workflow), nil
}

// The kinds of namespaces that hold users' keys.
const (
	workflows = "w"
	subjects  = "s"
)

// namespaceOf is unambiguous, as names hold no control characters. kind keeps
// apart what has names of its own in each project.
func namespaceOf(kind, project, name string) string {
	return kind + "\x00" + project + "\x00" + name
}

// nameOf returns the workflow or the subject of a namespace.
func nameOf(namespace string) string {
	return namespace[strings.LastIndexByte(namespace, 0)+1:]
}

// checkName checks the name of a key, a workflow or a subject; what it is
// called in messages is what.
func checkName(what, name string, limit int) error {
	if err := names.Check(name, limit); err != nil {
		return refuse(codeInvalidKey, "%s %s", what, err)
	}
	return nil
}

func checkText(c code, what, text string) error {
	if err := names.CheckText(text); err != nil {
		return refuse(c, "%s %s", what, err)
	}
	return nil
}
