package httpapi

import (
	"net/url"
	"strings"

	"github.com/stateraft/stateraft/httpapi/internal/names"
)

// maxSessionBytes bounds the name of a session.
const maxSessionBytes = 256

// agentTarget returns where the request's key lives.
func (r *request) agentTarget() (namespace, key string, err error) {
	if namespace, err = r.agentNamespace(); err != nil {
		return "", "", err
	}
	key, err = r.agentKey()
	return namespace, key, err
}

// agentNamespace returns the state machine's name for the request's subject.
func (r *request) agentNamespace() (string, error) {
	subject, _, err := r.header(headerSubject)
	switch {
	case err != nil:
		return "", err
	case subject == "":
		return "", refuse(codeMissingSubject, "header X-Subject-ID is required: it says whose state is meant")
	}
	if err := checkName("header X-Subject-ID", subject, names.MaxSubjectBytes); err != nil {
		return "", err
	}
	return r.subjectNamespace(subject)
}

// subjectNamespace returns the state machine's name for a subject, if the
// request's sender may act on it.
func (r *request) subjectNamespace(subject string) (string, error) {
	if err := r.allow("subject", subject); err != nil {
		return "", err
	}
	return namespaceOf(subjects, r.principal.Project, subject), nil
}

// agentKey returns the key, which is all that follows in the path: a slash may
// be written as it is, or as %2F. Segments that clients and proxies remove
// from a path, or change it by, are refused.
func (r *request) agentKey() (string, error) {
	key, err := r.segment(segKey)
	if err != nil {
		return "", err
	}
	key = strings.TrimPrefix(key, "/")
	if err := checkName("key", key, names.MaxKeyBytes); err != nil {
		return "", err
	}
	for escaped := range strings.SplitSeq(r.params.ByName(segKey), "/") {
		if s, _ := url.PathUnescape(escaped); s == "." || s == ".." {
			return "", refuse(codeInvalidKey, "key must not have the path segment %q; the slashes beside it can be written %%2F", s)
		}
	}
	return key, nil
}

// session returns the caller's session, which is kept with what it writes;
// empty for none.
func (r *request) session() (string, error) {
	session, _, err := r.header(headerSession)
	if err != nil {
		return "", err
	}
	const what = "header X-Session-ID"
	if len(session) > maxSessionBytes {
		return "", refuse(codeInvalidRequest, "%s must be at most %d bytes, not %d", what, maxSessionBytes, len(session))
	}
	return session, checkText(codeInvalidRequest, what, session)
}
