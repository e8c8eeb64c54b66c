package configs

import (
	"strings"
	"testing"
)

// TestMisplacedAddress gives an address with a password where something else
// belongs. The error may quote what was given, but not the password.
func TestMisplacedAddress(t *testing.T) {
	const address = "redis://user:MARKER p\"@ss@host:6379"
	for _, s := range settings {
		t.Run(s.name, func(t *testing.T) {
			for _, value := range []string{address, address + "=" + address} {
				_, err := load(t, []string{variable(s.name) + "=" + value}, anySource, anyTarget)
				if err != nil && (strings.Contains(err.Error(), "MARKER") || strings.Contains(err.Error(), "@ss")) {
					t.Errorf("the error shows the password: %v", err)
				}
			}
		})
	}
}
