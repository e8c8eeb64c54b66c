package main

import "testing"

const events = `{"event":"blocker","code":"functions","message":"none there"}
{"event":"failed","key":"a","db":0,"reason":"too new"}
{"event":"unsupported","key_base64":"/w==","reason":"a module"}
{"event":"summary","read":3,"written":1,"skipped":1,"failed":1,"retries":{"restamped":2}}
`

func TestParseEvents(t *testing.T) {
	said, err := parseEvents([]byte(events))
	if err != nil {
		t.Fatal(err)
	}
	a := said.account
	if said.refused["a"] != "too new" || said.refused["\xff"] != "a module" || len(said.blockers) != 1 ||
		a.Read != 3 || a.Retries.Restamped != 2 || a.Retries.Rebuilt != nil || !a.balanced() {
		t.Errorf("%+v", said)
	}
	if _, err := parseEvents([]byte(events[:len(events)/2])); err == nil {
		t.Error("events that were cut off are no error")
	}
}

func FuzzParseEvents(f *testing.F) {
	f.Add([]byte(events))
	f.Fuzz(func(t *testing.T, stdout []byte) {
		if _, err := parseEvents(stdout); err == nil && len(stdout) < len(`{"event":"summary"}`) {
			t.Error("a summary from nothing")
		}
	})
}
