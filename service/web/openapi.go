package web

import (
	_ "embed" // the description
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v3"
)

//go:embed openapi.yaml
var openAPIText []byte

// openAPI is the description of the API as JSON, which every tool reads.
func openAPI() ([]byte, error) {
	var v map[string]any
	if err := yaml.Unmarshal(openAPIText, &v); err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	return json.Marshal(v)
}
