package web

import (
	"encoding/json"
	"net/http"
)

// problem is the body of every answer of the API that is an error.
type problem struct {
	Error fault `json:"error"`
}

type fault struct {
	Code    string `json:"code"` // for programs
	Message string `json:"message"`
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	answer(w, status, problem{fault{code, message}})
}

func answer(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":{"code":"internal","message":"the answer can't be written as JSON"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// Who has hung up gets no answer.
	_, _ = w.Write(append(body, '\n'))
}
