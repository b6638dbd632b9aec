// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// callerIdentity is who the article's caller is to the mesh.
const callerIdentity = "spiffe://cluster.local/ns/default/sa/sleep"

// accepted is the line that a ztunnel logs for each HBONE connection, once the
// TLS handshake is over.
type accepted struct {
	Message  string         `json:"msg"`
	Remote   netip.AddrPort `json:"remote"`
	Local    netip.AddrPort `json:"local"`
	ALPN     string         `json:"alpn"`
	Version  string         `json:"tls_version"`
	Identity string         `json:"peer_identity"`
}

const acceptedMessage = "accepted tunnel connection"

func (a accepted) String() string {
	return fmt.Sprintf("%s -> %s: ALPN %q, %s, peer %q", a.Remote, a.Local, a.ALPN, a.Version, a.Identity)
}

// acceptedIn reads those lines from a ztunnel's log. Other lines, the access
// log's among them, are passed over.
func acceptedIn(path string) ([]accepted, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the ztunnel's log: %w", err)
	}
	defer f.Close()
	var all []accepted
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var a accepted
		if !strings.Contains(lines.Text(), acceptedMessage) {
			continue
		}
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil || a.Message != acceptedMessage {
			continue
		}
		all = append(all, a)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the ztunnel's log: %w", err)
	}
	return all, nil
}

// identityFinding shows what ztunnel B saw in the TLS handshake.
func (s *scene) identityFinding() Finding {
	f := Finding{Title: "ALPN h2 and the caller's identity, as ztunnel B saw them"}
	f.Text = fmt.Sprintf("ztunnel B logs what each HBONE connection proved: the connection to %s:%d came with the certificate of %s.",
		s.server.Address, hbonePort, callerIdentity)
	all, err := acceptedIn(s.lab.Net.LogFile(s.zB.Host, ztunnelDaemon))
	if err != nil {
		f.Details = append(f.Details, err.Error())
		return f
	}
	f.OK = len(all) > 0
	for _, a := range all {
		f.Details = append(f.Details, a.String())
		f.OK = f.OK && a.ALPN == "h2" && a.Version == "TLS 1.3" && a.Identity == callerIdentity &&
			a.Remote.Addr() == s.zA.Address && a.Local == netip.AddrPortFrom(s.server.Address, hbonePort)
	}
	return f
}
