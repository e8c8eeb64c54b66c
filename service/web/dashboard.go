package web

import "net/http"

func (s *Site) dashboard(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "slotferry") }
