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
	if shard.Of > 1 && v.boolean("cutover") {
		v.wrong("cutover", "it does not go with --shard: no part knows whether the others are ready; stop the source's writers by hand when all are close behind")
	}
	part, err := shard.Slots(slots)
	if err != nil {
		v.wrong("shard", "%v", err)
		return slots
	}
	return part
}
