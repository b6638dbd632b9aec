// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
)

// Logger is one logger whose level /logging shows and sets.
type Logger struct {
	Name  string
	Level *slog.LevelVar
}

// level is one of Envoy's log levels and what it is to slog.
type level struct {
	name string
	slog slog.Level
}

// levels are Envoy's, from the loudest. slog has four; those between and beyond
// them take the distance that slog leaves for it.
func levels() []level {
	return []level{
		{"trace", slog.LevelDebug - 4},
		{"debug", slog.LevelDebug},
		{"info", slog.LevelInfo},
		{"warning", slog.LevelWarn},
		{"error", slog.LevelError},
		{"critical", slog.LevelError + 4},
		{"off", slog.LevelError + 100},
	}
}

// ParseLevel reads a log level by Envoy's names: trace, debug, info, warning (or
// warn), error, critical, off.
func ParseLevel(name string) (slog.Level, error) {
	wanted := strings.ToLower(name)
	if wanted == "warn" {
		wanted = "warning"
	}
	var known []string
	for _, l := range levels() {
		if l.name == wanted {
			return l.slog, nil
		}
		known = append(known, l.name)
	}
	return 0, fmt.Errorf("unknown log level %q: use one of %s", name, strings.Join(known, ", "))
}

// levelName is the name of the quietest level that still lets this one through.
func levelName(l slog.Level) string {
	name := levels()[0].name
	for _, known := range levels() {
		if known.slog <= l {
			name = known.name
		}
	}
	return name
}

// logging answers /logging: a POST with level=LEVEL sets every logger, one with
// NAME=LEVEL that logger; either way the levels as they are then are printed.
func (s *server) logging(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if len(query) > 0 && r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		text(w, http.StatusMethodNotAllowed, fmt.Sprintf("Method %s not allowed, POST required.\n", r.Method))
		return
	}
	if err := s.setLevels(query); err != nil {
		text(w, http.StatusBadRequest, err.Error()+"\n"+s.loggerList())
		return
	}
	text(w, http.StatusOK, s.loggerList())
}

// setLevels changes all of what is asked for, or nothing.
func (s *server) setLevels(query map[string][]string) error {
	type change struct {
		at *slog.LevelVar
		to slog.Level
	}
	var changes []change
	for name, values := range query {
		to, err := ParseLevel(values[0])
		if err != nil {
			return err
		}
		if name == "level" {
			for _, l := range s.Loggers {
				changes = append(changes, change{l.Level, to})
			}
			continue
		}
		i := slices.IndexFunc(s.Loggers, func(l Logger) bool { return l.Name == name })
		if i < 0 {
			return fmt.Errorf("unknown logger %q", name)
		}
		changes = append(changes, change{s.Loggers[i].Level, to})
	}
	for _, c := range changes {
		c.at.Set(c.to)
	}
	return nil
}

func (s *server) loggerList() string {
	var b strings.Builder
	b.WriteString("active loggers:\n")
	for _, l := range s.Loggers {
		fmt.Fprintf(&b, "  %s: %s\n", l.Name, levelName(l.Level.Level()))
	}
	return b.String()
}
