// SPDX-License-Identifier: Apache-2.0

package page

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"

	"github.com/ambient22/ambient22/internal/trace/story"
)

//go:embed trace.html.tmpl
var traceText string

//go:embed trace.css
var traceStyle string

//go:embed trace.js
var traceScript string

// Trace writes a story as one page: the picture of the path, the step that is being
// looked at, and the list of all steps.
func Trace(w io.Writer, s *story.Story) error {
	t, err := template.New("trace").Parse(traceText)
	if err != nil {
		return fmt.Errorf("reading the page of a trace: %w", err)
	}
	v := look(s)
	var body bytes.Buffer
	if err := t.Execute(&body, v); err != nil {
		return fmt.Errorf("writing the page of a trace: %w", err)
	}
	// What the template has written is escaped already.
	return Shell(w, Frame{Title: v.Title, Body: template.HTML(body.String()), Style: traceStyle, Script: traceScript})
}

// view is what the page shows.
type view struct {
	*story.Story
	Title   string
	Picture *picture
	Legs    []legView
	Steps   int
	// Shown is how many steps are shown at first: the decisive ones.
	Shown     int
	OthersToo bool // no step is decisive: all that matched are shown
	Missed    int  // rules that did not match
	// Start is the step to begin with: where the packet went another way, if it did.
	Start string
	// Timeline is when it happened, of a live story, from Began on.
	Timeline    []moment
	Began, Took string
}

type legView struct {
	story.Leg
	Steps []stepView
}

type stepView struct {
	story.Stop
	Number int
	Way    string // the spots' numbers, with blanks between
	Class  string
	Where  string
	Says   string
	Turn   bool // here the packet went another way than into the ztunnel
}

func look(s *story.Story) *view {
	v := &view{Story: s, Title: s.From.Name + " → " + s.To.Name + " · trace"}
	v.lookAtTimes(s.Timeline)
	keep := ""
	if s.Miss != nil {
		keep = s.Miss.Stop
	}
	if keep != "" && !s.Miss.Captured {
		v.Start = keep
	}
	short := *s
	short.Legs = nil
	for _, l := range s.Legs {
		l.Stops = shorten(l.Stops, keep)
		short.Legs = append(short.Legs, l)
	}
	s = &short
	way := walk(s)
	i := 0
	for _, l := range s.Legs {
		leg := legView{Leg: l}
		for _, stop := range l.Stops {
			step := stepView{Stop: stop, Number: i + 1, Way: spotNumbers(way.ways[i]), Class: class(stop), Where: where(stop.Place), Says: says(stop),
				Turn: v.Start != "" && stop.ID == v.Start}
			leg.Steps = append(leg.Steps, step)
			if stop.Decisive {
				v.Shown++
			}
			if !stop.Matched {
				v.Missed++
			}
			i++
		}
		v.Legs = append(v.Legs, leg)
	}
	v.Steps, v.OthersToo = i, v.Shown == 0
	v.Picture = draw(way, ztunnelNames(s))
	return v
}

// ztunnelNames are the ztunnels' pods by their nodes.
func ztunnelNames(s *story.Story) map[string]string {
	names := map[string]string{}
	for _, l := range s.Legs {
		for _, stop := range l.Stops {
			if p := stop.Place; p.Space == "ztunnel" && names[p.Node] == "" {
				names[p.Node] = p.Pod
			}
		}
	}
	return names
}

func spotNumbers(way []*spot) string {
	n := make([]string, len(way))
	for i, s := range way {
		n[i] = strconv.Itoa(s.ID)
	}
	return strings.Join(n, " ")
}

// class are the classes that the style sheet and the script tell steps apart by.
func class(s story.Stop) string {
	c := "step"
	switch {
	case s.Decisive:
		c += " decisive"
	case s.Matched:
		c += " other"
	default:
		c += " miss"
	}
	return c
}

// where is a step's place in words.
func where(p story.Place) string {
	var w []string
	switch p.Space {
	case "pod":
		w = append(w, "pod "+p.Pod)
	case "link":
		w = append(w, "between the nodes")
	case "ztunnel":
		w = append(w, strings.TrimSpace("ztunnel "+p.Pod), "on "+p.Node)
	default:
		w = append(w, story.NodeLabel(p.Node))
	}
	hook := strings.TrimSpace(p.Table + " " + p.Hook)
	if hook != "" {
		w = append(w, hook)
	}
	if p.Chain != "" && p.Chain != p.Hook {
		w = append(w, "chain "+p.Chain)
	}
	if p.Device != "" {
		w = append(w, "device "+p.Device)
	}
	return strings.Join(w, " · ")
}

// says is the step's sentence; what has none is told by its reason.
func says(s story.Stop) string {
	switch {
	case s.Text != "":
		return s.Text
	case s.Kind == "conntrack" && s.Why != "":
		return "Connection tracking: " + s.Why + "."
	case s.Why != "":
		return s.Why
	}
	return s.Kind
}

// Changed tells that the step changed the packet's or the connection's mark.
func (s stepView) Changed() bool { return s.MarkAfter != "" || s.ConnmarkAfter != "" }

// Namespace is a pod's, for its box in the picture.
func (s *spot) Namespace() string {
	if s.key.role != rolePod {
		return ""
	}
	return label(beforeSlash(s.key.space.pod), 23)
}

// Class is the kind of the spot, for the style sheet.
func (s *spot) Class() string {
	switch s.key.role {
	case rolePod:
		return "pod"
	case roleProxy:
		return "proxy"
	case roleTunnel:
		return "tunnel"
	case roleHook, roleElsewhere:
		return "hook"
	case roleLink:
		return "link"
	}
	return "device"
}

// TextY is the baseline of the label in the box.
func (s *spot) TextY() int {
	if s.key.role == rolePod {
		return s.Y + 24
	}
	return s.Y + 16
}
