// SPDX-License-Identifier: Apache-2.0

// Package daemon is what the programs that run for long have in common: the flags of
// their log, and a server for health and metrics.
package daemon

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/pflag"
)

// Log are the flags of a program's log, as they are typed.
type Log struct{ level, format string }

// Register adds --log-level and --log-format.
func (l *Log) Register(f *pflag.FlagSet) {
	f.StringVar(&l.level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&l.format, "log-format", "text", "text or json")
}

// Logger writes structured log lines to w. Its error names the flag that is wrong.
func (l *Log) Logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.level)); err != nil {
		return nil, fmt.Errorf("--log-level: %w", err)
	}
	return NewLogger(w, l.format, level)
}

// NewLogger writes lines of at least that level to w, in a format as --log-format
// takes it.
func NewLogger(w io.Writer, format string, level slog.Leveler) (*slog.Logger, error) {
	settings := &slog.HandlerOptions{Level: level}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, settings)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, settings)), nil
	}
	return nil, fmt.Errorf("--log-format: %q is neither text nor json", format)
}
