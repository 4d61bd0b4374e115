package httpapi

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of names, in bytes.
const (
	maxKeyBytes      = 512
	maxWorkflowBytes = 256
)

// target returns where the request's key lives.
func (r *request) target() (namespace, key string, err error) {
	if namespace, err = r.namespace(); err != nil {
		return "", "", err
	}
	if key, err = r.segment(segKey); err != nil {
		return "", "", err
	}
	return namespace, key, checkName("key", key, maxKeyBytes)
}

// namespace returns the state machine's name for the request's workflow.
func (r *request) namespace() (string, error) {
	workflow, err := r.segment(segWorkflow)
	if err != nil {
		return "", err
	}
	if err := checkName("workflow", workflow, maxWorkflowBytes); err != nil {
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

// checkName checks the name of a key or a workflow; what it is called in
// messages is what. "." and ".." are refused because clients and proxies
// remove such segments from a path.
func checkName(what, name string, limit int) error {
	switch {
	case name == "":
		return refuse(codeInvalidKey, "%s must not be empty", what)
	case name == "." || name == "..":
		return refuse(codeInvalidKey, "%s must not be %q", what, name)
	case len(name) > limit:
		return refuse(codeInvalidKey, "%s must be at most %d bytes, not %d", what, limit, len(name))
	}
	return checkText(codeInvalidKey, what, name)
}

func checkText(c code, what, text string) error {
	switch {
	case !utf8.ValidString(text):
		return refuse(c, "%s must be valid UTF-8", what)
	case strings.ContainsFunc(text, unicode.IsControl):
		return refuse(c, "%s must not hold control characters", what)
	}
	return nil
}
