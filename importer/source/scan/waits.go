package scan

import (
	"github.com/slotferry/slotferry/importer/pulse"
)

// Pulse tells whether the server answers, and since when it does not.
func (s *Source) Pulse() *pulse.Pulse { return &s.pulse }

// owes is a wait for the server.
func (s *Source) owes(what string) pulse.Wait {
	return pulse.Wait{
		On: "the source " + s.opts.Endpoint.String(), What: what,
		Remedy: "see that the source is up and not busy with one slow command (redis-cli PING, INFO clients, SLOWLOG GET), and that the network between is whole",
	}
}
