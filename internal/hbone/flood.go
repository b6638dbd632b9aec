// SPDX-License-Identifier: Apache-2.0

package hbone

import "time"

// Frames that cost the peer nothing and us work are metered. A well-behaved
// peer sends a few of them in a second; the bursts leave room for a proxy whose
// clients all vanish at once.
const (
	controlBurst  = 2000
	controlPerSec = 200

	// Streams reset before they were answered are what "rapid reset" is made of.
	// The burst is at least this many, or every stream that may be open, twice.
	resetBurst  = 2000
	resetPerSec = 200

	// headerReads bounds the pieces of one header block: twice the CONTINUATION
	// frames with content that we follow, since each has a header and a payload.
	headerReads = 256

	// maxQueued bounds the output buffer when a peer makes us answer but does not
	// read the answers.
	maxQueued = 1 << 20
)

// meter is a token bucket.
type meter struct {
	left, burst, perSec float64
	last                time.Time
}

func newMeter(burst, perSec float64) meter {
	return meter{left: burst, burst: burst, perSec: perSec}
}

// take reports whether one more is allowed at the time now.
func (m *meter) take(now time.Time) bool {
	if !m.last.IsZero() {
		m.left = min(m.burst, m.left+now.Sub(m.last).Seconds()*m.perSec)
	}
	m.last = now
	if m.left < 1 {
		return false
	}
	m.left--
	return true
}

// spend charges one cheap frame.
func (c *conn) spend(what string) error {
	if c.control.take(time.Now()) {
		return nil
	}
	return tooMuch("too many " + what)
}

// resetLog remembers the streams that this side reset lately. Frames that were
// on their way when the reset was sent are no error, others on a closed stream
// are.
type resetLog struct {
	ids  map[uint32]struct{}
	ring []uint32
	next int
}

func newResetLog(size int) resetLog {
	return resetLog{ids: map[uint32]struct{}{}, ring: make([]uint32, 0, size)}
}

func (l *resetLog) add(id uint32) {
	l.ids[id] = struct{}{}
	if len(l.ring) < cap(l.ring) {
		l.ring = append(l.ring, id)
		return
	}
	delete(l.ids, l.ring[l.next])
	l.ring[l.next] = id
	l.next = (l.next + 1) % len(l.ring)
}

func (l *resetLog) has(id uint32) bool {
	_, ok := l.ids[id]
	return ok
}
