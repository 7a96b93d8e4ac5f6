package ui

import (
	"fmt"
	"testing"

	"berth/model"
)

func queueConsole(t testing.TB, w, h int, change func(*fakeQueue, *model.Options, *Look)) (*console, *fakeQueue) {
	q := livingQueue(start.Add(3e9))
	c := newConsole(t, w, h, func(o *model.Options, l *Look) {
		o.Queue = q
		if change != nil {
			change(q, o, l)
		}
	})
	c.keys("4")
	return c, q
}

func TestQueueAtEverySize(t *testing.T) {
	for _, s := range [][2]int{{40, 10}, {80, 24}, {120, 40}, {200, 50}} {
		t.Run(fmt.Sprintf("%dx%d", s[0], s[1]), func(t *testing.T) {
			c, _ := queueConsole(t, s[0], s[1], nil)
			c.golden(fmt.Sprintf("queue-%dx%d", s[0], s[1]))
			c.keys("tab")
			c.golden(fmt.Sprintf("queue-gantt-%dx%d", s[0], s[1]))
			c.keys("tab", "j", "j", "j", "j", "j", "j", "enter")
			c.golden(fmt.Sprintf("queue-why-%dx%d", s[0], s[1]))
			c.keys("w", "right")
			c.pass(1e9)
			c.golden(fmt.Sprintf("queue-whatif-%dx%d", s[0], s[1]))
		})
	}
}
