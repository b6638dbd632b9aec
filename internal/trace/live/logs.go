// SPDX-License-Identifier: Apache-2.0

package live

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ambient22/ambient22/internal/trace/story"
)

// maxLog is how much of a ztunnel's log is read behind where the call began, in bytes.
const maxLog = 4 << 20

// logTail is a ztunnel's log from a point in time on.
type logTail struct {
	node, path string
	from       int64
}

// openLogs notes where the logs end now.
func openLogs(paths map[string]string) ([]logTail, error) {
	var all []logTail
	for node, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("reading the ztunnel's log of %s: %w", node, err)
		}
		all = append(all, logTail{node, path, info.Size()})
	}
	slices.SortFunc(all, func(a, b logTail) int { return strings.Compare(a.node, b.node) })
	return all, nil
}

// lines are what was added since, as far as it is whole. A file that is shorter now
// was begun anew.
func (l *logTail) lines() ([]string, error) {
	f, err := os.Open(l.path)
	if err != nil {
		return nil, fmt.Errorf("reading the ztunnel's log of %s: %w", l.node, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.Size() >= l.from {
		_, err = f.Seek(l.from, io.SeekStart)
	}
	text, readErr := io.ReadAll(io.LimitReader(f, maxLog))
	if err = errors.Join(err, readErr); err != nil {
		return nil, fmt.Errorf("reading the ztunnel's log of %s: %w", l.node, err)
	}
	whole := string(text[:strings.LastIndexByte(string(text), '\n')+1])
	return strings.Split(strings.TrimSuffix(whole, "\n"), "\n"), nil
}

// accessMoments are the lines of an access log about connections from the clients.
func accessMoments(node string, lines, clients []string) []story.Moment {
	var all []story.Moment
	for _, line := range lines {
		at, ok := accessTime(line)
		if !ok || !slices.ContainsFunc(strings.Fields(line), func(word string) bool { return slices.Contains(clients, word) }) {
			continue
		}
		all = append(all, story.Moment{At: at, Node: node, Space: "ztunnel", Heard: true, Text: "access log: " + line})
	}
	return all
}

// accessTime is the time that begins a line of an access log: when the connection began.
func accessTime(line string) (time.Time, bool) {
	text, _, ok := strings.Cut(strings.TrimPrefix(line, "["), "] ")
	if !ok || !strings.HasPrefix(line, "[") {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	return at, err == nil
}

// clients are the addresses that the story's connections come from.
func (r *Recording) clients() []string {
	var all []string
	for _, t := range r.told {
		if h := &t.passage.First; h.Protocol == protoTCP {
			all = append(all, h.Src.String())
		}
	}
	return all
}
