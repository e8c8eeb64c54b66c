package record

// Command is one command that follows a full copy: of a replication stream, or
// of an append-only file. Words and Raw are valid until the sink returns.
type Command struct {
	DB    int      // selected when it was run
	Words [][]byte // its name and arguments
	Raw   []byte   // the same as RESP, byte for byte as it came
	// End is the place behind it. Its Serial grows from each command to the next;
	// it may be kept as a checkpoint unless the command is inside a MULTI.
	End Position
}

// CommandSink is a Sink that takes what follows a full copy, too.
type CommandSink interface {
	Sink
	// Copied says that the full copy was yielded as a whole, and that commands
	// follow from a position. It returns when all of the copy was answered.
	Copied(pos Position) error
	// Command takes the next command of the stream, SELECT, MULTI and EXEC among
	// them. It may wait, but not for the target longer than memory asks for.
	Command(c *Command) error
	// Idle says that no further command can be read without waiting. It is called
	// again every now and then while that lasts.
	Idle() error
}
