package httpapi

import "testing"

// Streams of Agent State are those of the State Store, but for whose key is
// told.
func TestAgentStream(t *testing.T) {
	x := newAPI(t)
	addr := x.serve()
	x.put(agentPath, `{"value":{"n":1.0}}`)
	events := []string{"X-Subject-ID", "s", "Accept", "text/event-stream"}
	key := open(t, addr, agentPath, events...)
	tools := open(t, addr, "/api/v1/state?prefix=tool:", events...)
	key.blocks(opened(1))
	tools.blocks(opened(1))
	if got := key.header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type = %q", got)
	}
	x.ok(x.as("other", "PUT", agentPath, `{"value":"other's"}`), "")
	x.ok(x.post("/v1/state/s/current_task", `{"value":"a workflow's"}`), "")
	x.put(agentPath, `{"value":2}`)
	x.put("/api/v1/state/tool:a/b", `{"value":3}`)
	x.ok(x.as("s", "DELETE", agentPath, ""), "")

	const set = "id: 4\ndata: " + `{"type":"set","subject_id":"s","key":"current_task","oldValue":{"n":1.0},"newValue":2,"value":2,"version":2,"revision":4}` + "\n\n"
	const gone = "id: 6\ndata: " + `{"type":"delete","subject_id":"s","key":"current_task","oldValue":2,"newValue":null,"value":null,"version":3,"revision":6}` + "\n\n"
	key.blocks(set, gone)
	tools.blocks("id: 5\ndata: " + `{"type":"set","subject_id":"s","key":"tool:a/b","oldValue":null,"newValue":3,"value":3,"version":1,"revision":5}` + "\n\n")

	open(t, addr, agentPath, append(events, "Last-Event-ID", "1")...).blocks(opened(1), set, gone)
	open(t, addr, agentPath+"?lastEventId=4", events...).blocks(opened(4), gone)
	open(t, addr, "/api/v1/state?snapshot=true", events...).blocks("retry: 1000\n\n",
		"data: "+`{"type":"snapshot","subject_id":"s","key":"tool:a/b","oldValue":null,"newValue":3,"value":3,"version":1}`+"\n\n",
		"event: synced\nid: 6\ndata: {\"revision\":6}\n\n")
}

func TestAgentStreamRefused(t *testing.T) {
	x := newAPI(t)
	const events = "text/event-stream"
	x.refused(x.get(agentPath, "Accept", events), 400, "missing_subject_id")
	x.refused(x.get("/api/v1/state", "Accept", events), 400, "missing_subject_id")
	x.refused(x.as("s", "GET", "/api/v1/state?session_id=a", "", "Accept", events), 400, "invalid_request")
	x.refused(x.as("s", "GET", "/api/v1/state?snapshot=true", ""), 400, "invalid_request")
	x.refused(x.as("s", "GET", agentPath+"?snapshot=true", ""), 400, "invalid_request")
	x.refused(x.as("s", "GET", agentPath, "", "Accept", events, "Last-Event-ID", "x"), 400, "invalid_request")
	x.server.SetDraining()
	if a := x.as("s", "GET", agentPath, "", "Accept", events); a.status != 200 || a.body != "retry: 1000\n\n" {
		t.Errorf("while the node drains: %d %q", a.status, a.body)
	}
}
