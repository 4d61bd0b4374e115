package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/stateraft/stateraft/httpapi/inject"
)

// A call is one request upstream and the answer to it.
type call struct {
	*Proxy
	api      inject.API
	caller   context.Context // the request's
	ctx      context.Context // ends with the caller's, or when the upstream falls silent
	watchdog *watchdog
	out      *answer
	told     *told
}

// newCall gives the upstream until the timeout to answer. stop must be called.
func (p *Proxy) newCall(r *http.Request, api inject.API, out *answer, told *told) *call {
	c := &call{Proxy: p, api: api, caller: r.Context(), out: out, told: told}
	c.ctx, c.watchdog = watch(c.caller, p.upstream.timeout)
	return c
}

func (c *call) stop() { c.watchdog.stop() }

// pass sends body upstream and the answer back.
func (c *call) pass(r *http.Request, body []byte) error {
	start := time.Now()
	res, err := c.upstream.send(c.ctx, r, c.api, body, c.told.inBody())
	if err != nil {
		result, err := c.failed(err)
		c.metrics.count(c.api, result)
		return err
	}
	defer func() { _ = res.Body.Close() }()
	c.metrics.firstByte.WithLabelValues(c.api.String()).Observe(time.Since(start).Seconds())
	c.metrics.count(c.api, resultOf(res.StatusCode))
	return c.relay(res)
}

// failed says why there is no answer, for the metrics and for the caller.
func (c *call) failed(err error) (result string, answer error) {
	switch {
	case c.caller.Err() != nil:
		return "canceled", context.Cause(c.caller)
	case errors.Is(context.Cause(c.ctx), errSilent):
		return "timeout", &Error{http.StatusGatewayTimeout, CodeTimeout, fmt.Sprintf("the upstream did not answer within %v", c.upstream.timeout)}
	}
	c.log.Warn("no answer from upstream", "api", c.api.String(), "err", err)
	return "unreachable", &Error{http.StatusBadGateway, CodeUnreachable, "the upstream could not be reached, or broke off"}
}
