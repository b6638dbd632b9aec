// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
)

// stateVersion is the state file's format. A file of a later one is refused.
const stateVersion = 1

// state is what cleaning up needs to know and the kernel cannot tell: how
// things were before the first change. It is a JSON file of mode 0600 in the
// state directory, host.json on the node and pod.json in a ztunnel pod, and
// replaced as a whole.
type state struct {
	Version int `json:"version"`
	// BootID and NetNS say which boot and which network namespace (its inode)
	// the file speaks of; a file of another one is history.
	BootID string `json:"bootID"`
	NetNS  uint64 `json:"netns"`
	// IPTables is the variant that the rules were written with.
	IPTables string `json:"iptables,omitempty"`
	// Tables are the nftables tables of the iptables-nft variant as they were
	// before the first rule was written, by name. The kernel makes a table and
	// its base chains with the first rule and keeps them after the last.
	Tables map[string]tableOrigin `json:"tables,omitempty"`
	// Sysctls are the settings that were changed, in the order in which they
	// were changed first.
	Sysctls []sysctlOrigin `json:"sysctls,omitempty"`

	// Drains are the ztunnels that drain, in case that somebody damages what the
	// kernel tells of them.
	Drains []drainState `json:"drains,omitempty"`

	found  bool              // the file was there, or is written by now
	places map[[2]string]int // device and key to place in Sysctls
}

type tableOrigin struct {
	Existed bool     `json:"existed"`
	Chains  []string `json:"chains,omitempty"` // base chains
}

type drainState struct {
	Slot int        `json:"slot"`
	IP   netip.Addr `json:"ip"`
	Veth string     `json:"veth"`
}

type sysctlOrigin struct {
	Device   string `json:"device"`
	Index    int    `json:"ifindex,omitempty"` // 0 for "all" and "default"
	Key      string `json:"key"`
	Original string `json:"original"`
	Set      string `json:"set"` // what was written
}

// loadState reads the state file; a missing one, or one of another boot or
// network namespace, is a new state.
func loadState(path, bootID string, netns uint64) (*state, error) {
	fresh := &state{Version: stateVersion, BootID: bootID, NetNS: netns}
	if path == "" {
		return fresh, nil
	}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fresh, nil
	case err != nil:
		return nil, fmt.Errorf("reading state: %w", err)
	}
	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("reading state %s (remove the file to give up what it remembers): %w", path, err)
	}
	if s.Version > stateVersion {
		return nil, fmt.Errorf("reading state %s: it has version %d and this program knows %d", path, s.Version, stateVersion)
	}
	if s.BootID != bootID || s.NetNS != netns {
		return fresh, nil
	}
	s.found = true
	return &s, nil
}

// save replaces the file in one move.
func (s *state) save(path string) error {
	s.found = true
	if path == "" {
		return nil
	}
	text, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return fmt.Errorf("writing state: %w", err)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("writing state: %w", err)
	}
	tmp, err := os.CreateTemp(dir, filepath.Base(path)+".*") // CreateTemp makes it 0600
	if err != nil {
		return fmt.Errorf("writing state: %w", err)
	}
	_, err = tmp.Write(append(text, '\n'))
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing state: %w", errors.Join(err, os.Remove(tmp.Name())))
	}
	return nil
}

// remember notes a setting's value before its first change and tells whether
// that was news.
func (s *state) remember(o sysctlOrigin) bool {
	if s.places == nil {
		s.setSysctls(s.Sysctls)
	}
	key := [2]string{o.Device, o.Key}
	i, known := s.places[key]
	switch {
	case !known:
		s.places[key] = len(s.Sysctls)
		s.Sysctls = append(s.Sysctls, o)
	case s.Sysctls[i].Index != o.Index:
		s.Sysctls[i] = o // the name belongs to another device by now
	default:
		return false
	}
	return true
}

func (s *state) setSysctls(origins []sysctlOrigin) {
	s.Sysctls = origins
	s.places = make(map[[2]string]int, len(origins))
	for i, o := range origins {
		s.places[[2]string{o.Device, o.Key}] = i
	}
}
