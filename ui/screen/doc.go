// Package screen is the output stage: it puts finished frames on a terminal,
// writing only the cells that changed.
//
// Bubble Tea v1's own renderer rewrites every line that changed, which over
// ssh is what people wait for. So the program runs with tea.WithoutRenderer,
// and the root model hands each frame to Show. Without a renderer Bubble Tea
// also leaves the terminal's modes alone: it neither switches to raw mode nor
// reports sizes. Screen does both, and Run wires everything up:
//
//	s := screen.New(os.Stdout, screen.Options{In: os.Stdin, AltScreen: true, Mouse: true, Profile: p})
//	final, err := s.Run(ctx, model) // the model's View calls s.Show(frame, w, h) and returns ""
//
// Editors, consoles and other programs that need the terminal go through
// Exec and ExecProcess rather than tea.Exec.
//
// One goroutine writes. Show never waits for it: the latest frame wins, so a
// slow terminal sees fewer frames, not old ones.
package screen
