package configs

import "github.com/slotferry/slotferry/importer/choice"

// shardOf returns the part of the chosen slots that --shard names. What is wrong
// with the slots themselves is found where they are used.
func (v *values) shardOf(slots string) string {
	shard, err := choice.ParseShard(v.text("shard"))
	if err != nil {
		v.wrong("shard", "%v", err)
		return slots
	}
	if _, err := choice.New(choice.Options{Slots: slots}); err != nil {
		return slots
	}
	part, err := shard.Slots(slots)
	if err != nil {
		v.wrong("shard", "%v", err)
		return slots
	}
	return part
}
