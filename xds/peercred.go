// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"
)

// Peer is the process at the other end of a Unix socket, as the kernel saw it
// when it connected.
type Peer struct {
	PID int32  `json:"pid"` // 0 where it lives in another PID namespace
	UID uint32 `json:"uid"`
	GID uint32 `json:"gid"`
}

// peerCredentials lets processes of certain users in. It is gRPC's transport
// security of the listener: on a Unix socket the kernel vouches for the peer,
// and nobody can listen in between.
type peerCredentials struct {
	allowed []uint32
	log     *slog.Logger
	refused prometheus.Counter
}

// peerInfo carries the peer to the handlers.
type peerInfo struct {
	credentials.CommonAuthInfo
	Peer
}

// AuthType implements credentials.AuthInfo.
func (peerInfo) AuthType() string { return "peercred" }

// ServerHandshake implements credentials.TransportCredentials; gRPC closes the
// connection when it returns an error.
func (p peerCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	peer, err := peerOf(conn)
	if err != nil {
		p.refused.Inc()
		p.log.Error("refused a peer that can't be identified", "error", err)
		return nil, nil, err
	}
	if !slices.Contains(p.allowed, peer.UID) {
		p.refused.Inc()
		p.log.Warn("refused a peer: its user is not allowed to fetch this node's configuration",
			"pid", peer.PID, "uid", peer.UID, "gid", peer.GID, "allowed_uids", p.allowed)
		return nil, nil, fmt.Errorf("checking the peer: user %d is not allowed", peer.UID)
	}
	return conn, peerInfo{
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		Peer:           peer,
	}, nil
}

// peerOf asks the kernel who is connected.
func peerOf(conn net.Conn) (Peer, error) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return Peer{}, fmt.Errorf("identifying the peer: %T has no socket", conn)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("identifying the peer: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, credErr); err != nil {
		return Peer{}, fmt.Errorf("identifying the peer: %w", err)
	}
	if cred.Uid == ^uint32(0) {
		// What the kernel says of a socket that is not a Unix one.
		return Peer{}, errors.New("identifying the peer: the kernel doesn't know its user; is this a Unix socket?")
	}
	return Peer{PID: cred.Pid, UID: cred.Uid, GID: cred.Gid}, nil
}

// ClientHandshake implements credentials.TransportCredentials.
func (peerCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("peer credentials are checked by the server")
}

// Info implements credentials.TransportCredentials.
func (peerCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "peercred"}
}

// Clone implements credentials.TransportCredentials.
func (p peerCredentials) Clone() credentials.TransportCredentials { return p }

// OverrideServerName implements credentials.TransportCredentials.
func (peerCredentials) OverrideServerName(string) error { return nil }
