// SPDX-License-Identifier: Apache-2.0

package dump

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// Version is the version of the archives that this package writes.
const Version = 1

// The archive's files beside those of the namespaces.
const (
	HeaderFile    = "dump.json"
	WorkloadsFile = "workloads.json"
)

// WorkloadsPath is where the node controller serves Workloads over HTTP.
const WorkloadsPath = "/debug/workloads"

// The names of the namespaces that every node has, and their folders in an archive.
const (
	HostSpace    = "host"
	ZtunnelSpace = "ztunnel"

	podsFolder = "pods"
)

// Archive is one node's dump as texts, as it was taken.
type Archive struct {
	Header Header
	Files  []File // sorted by name; without the header
}

// Header is an archive's dump.json.
type Header struct {
	Version int       `json:"version"`
	Node    string    `json:"node,omitempty"`
	Taken   time.Time `json:"taken"`
	// Tool is the program that took it.
	Tool string `json:"tool,omitempty"`
	// Gaps are what could not be taken.
	Gaps  []Gap      `json:"gaps,omitempty"`
	Files []FileInfo `json:"files"`
}

// Gap is something that an archive does not have.
type Gap struct {
	// Space is the namespace's name as in Netns.Name; "" is the whole node.
	Space string `json:"space,omitempty"`
	// Kind is what is missing; "" is the whole namespace.
	Kind   Kind   `json:"kind,omitempty"`
	Reason string `json:"reason"`
}

// String is the gap as a person reads it: "host: ipset-save: not installed".
func (g Gap) String() string {
	var parts []string
	for _, part := range []string{g.Space, string(g.Kind), g.Reason} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ": ")
}

// FileInfo is what the header says of one file.
type FileInfo struct {
	Name  string `json:"name"`
	Bytes int    `json:"bytes"`
	// Truncated says what was kept, where not all of it was.
	Truncated string `json:"truncated,omitempty"`
}

// File is one text of an archive.
type File struct {
	Name      string // "host/ip-rule.txt"
	Text      string
	Truncated string // as in FileInfo
}

// Add puts a text of a namespace into the archive, in place of an earlier one.
// truncated says what was kept, and is "" where all of it was.
func (a *Archive) Add(space string, kind Kind, text, truncated string) {
	a.add(File{Name: FileName(space, kind), Text: text, Truncated: truncated})
}

// AddWorkloads puts in what the node controller knows.
func (a *Archive) AddWorkloads(w *Workloads) error {
	text, err := json.MarshalIndent(w, "", " ")
	if err != nil {
		return fmt.Errorf("printing the workloads: %w", err)
	}
	a.add(File{Name: WorkloadsFile, Text: string(text) + "\n"})
	return nil
}

func (a *Archive) add(f File) {
	at, found := slices.BinarySearchFunc(a.Files, f.Name, func(f File, name string) int { return strings.Compare(f.Name, name) })
	if found {
		a.Files[at] = f
		return
	}
	a.Files = slices.Insert(a.Files, at, f)
}

// Join adds the files and gaps of another archive of the same node.
func (a *Archive) Join(other *Archive) {
	for _, f := range other.Files {
		a.add(f)
	}
	a.Header.Gaps = append(a.Header.Gaps, other.Header.Gaps...)
}

// Only leaves out what is not of a namespace: nobody speaks for another one. What the
// node controller knows belongs to the host.
func (a *Archive) Only(space string) {
	a.Files = slices.DeleteFunc(a.Files, func(f File) bool {
		if f.Name == WorkloadsFile {
			return space != HostSpace
		}
		of, _, _ := place(f.Name)
		return of != space
	})
}

// Gap notes that something could not be taken.
func (a *Archive) Gap(space string, kind Kind, reason string) {
	a.Header.Gaps = append(a.Header.Gaps, Gap{Space: space, Kind: kind, Reason: reason})
}

// File is the file with that name; ok is false where there is none.
func (a *Archive) File(name string) (f File, ok bool) {
	at, ok := slices.BinarySearchFunc(a.Files, name, func(f File, name string) int { return strings.Compare(f.Name, name) })
	if !ok {
		return File{}, false
	}
	return a.Files[at], true
}

// header is the header as it is written: with the list of the files.
func (a *Archive) header() ([]byte, error) {
	h := a.Header
	h.Version = Version
	h.Files = []FileInfo{}
	for _, f := range a.Files {
		h.Files = append(h.Files, FileInfo{Name: f.Name, Bytes: len(f.Text), Truncated: f.Truncated})
	}
	text, err := json.MarshalIndent(h, "", " ")
	if err != nil {
		return nil, fmt.Errorf("printing %s: %w", HeaderFile, err)
	}
	return append(text, '\n'), nil
}

// FileName is where a namespace's text of that kind is in an archive. space is
// "host", "ztunnel" or a pod's "NAMESPACE/NAME".
func FileName(space string, kind Kind) string {
	return path.Join(folder(space), kind.base())
}

func (k Kind) base() string {
	if k == KindConfigDump {
		return string(k) + ".json"
	}
	return string(k) + ".txt"
}

// folder is a namespace's folder. No name in Kubernetes has an underscore.
func folder(space string) string {
	if space == HostSpace || space == ZtunnelSpace {
		return space
	}
	return path.Join(podsFolder, strings.Replace(space, "/", "_", 1))
}

// place is the opposite of FileName. ok is false for other files.
func place(name string) (space string, kind Kind, ok bool) {
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	for _, k := range Kinds() {
		if k.base() == base {
			kind, ok = k, true
		}
	}
	switch pod, isPod := strings.CutPrefix(dir, podsFolder+"/"); {
	case !ok:
		return "", "", false
	case dir == HostSpace || dir == ZtunnelSpace:
		return dir, kind, true
	case isPod && pod != "" && !strings.Contains(pod, "/"):
		return strings.Replace(pod, "_", "/", 1), kind, true
	}
	return "", "", false
}

// Kinds are all kinds, in the order in which they are taken and shown.
func Kinds() []Kind {
	return []Kind{
		KindNFTSave, KindLegacySave, KindRuleset, KindRules, KindRoutes,
		KindLinks, KindSets, KindConns, KindSysctls, KindConfigDump,
	}
}
