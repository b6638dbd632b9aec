// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/ambient22/ambient22/internal/proxy/strict"
)

// Envoy's defaults for what a resource leaves out.
const (
	defaultConnectTimeout      = 5 * time.Second
	defaultCleanupInterval     = 5 * time.Second
	defaultInitialFetchTimeout = 15 * time.Second
)

// Decoder decodes resources. It is safe for use from one goroutine at a time.
type Decoder struct {
	schema strict.Schema
	// grpcClusters are the names of the static clusters that a config source
	// may name (sds-grpc).
	grpcClusters map[string]bool
	hash         hasher // of chains
}

// NewDecoder makes a Decoder; grpcClusters are the bootstrap's static clusters.
func NewDecoder(grpcClusters ...string) *Decoder {
	d := &Decoder{schema: schema(), grpcClusters: make(map[string]bool), hash: newHasher()}
	for _, name := range grpcClusters {
		d.grpcClusters[name] = true
	}
	return d
}

// unpack reads body into m, whose type it must have, and checks it.
func (d *Decoder) unpack(body *anypb.Any, m proto.Message) error {
	if err := typed(body, m); err != nil {
		return err
	}
	return read(body.GetValue(), m, strict.NewChecker(d.schema))
}

// typed refuses a body that is of another type than m.
func typed(body *anypb.Any, m proto.Message) error {
	if want := m.ProtoReflect().Descriptor().FullName(); body.MessageName() != want {
		return fmt.Errorf("type is %q, not %s", body.GetTypeUrl(), want)
	}
	return nil
}

// read decodes a message and checks it.
func read(b []byte, m proto.Message, check *strict.Checker) error {
	if err := proto.Unmarshal(b, m); err != nil {
		return fmt.Errorf("decoding %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return check.Check(m)
}

// message is unpack for a message that a checked one holds.
func message[T proto.Message](a *anypb.Any, field string) (T, error) {
	var zero T
	m, err := a.UnmarshalNew()
	if err != nil {
		return zero, fmt.Errorf("%s: %w", field, err)
	}
	t, ok := m.(T)
	if !ok {
		return zero, fmt.Errorf("%s: type %q is not supported here", field, a.GetTypeUrl())
	}
	return t, nil
}

// fieldError is an error with the path of the field that it is about.
type fieldError struct {
	path string
	err  error
}

func (e *fieldError) Error() string { return e.path + ": " + e.err.Error() }
func (e *fieldError) Unwrap() error { return e.err }

// in puts the path of a field before an error, and before the path in it.
func in(err error, format string, args ...any) error {
	path := fmt.Sprintf(format, args...)
	switch inner := err.(type) {
	case *fieldError:
		return &fieldError{path: path + "." + inner.path, err: inner.err}
	case *strict.Error:
		if inner.Path != "" {
			return &fieldError{path: path + "." + inner.Path, err: inner.Err}
		}
	}
	return &fieldError{path: path, err: err}
}

// duration is d, or def where it is not set.
func duration(d *durationpb.Duration, def time.Duration) (time.Duration, error) {
	if d == nil {
		return def, nil
	}
	if err := d.CheckValid(); err != nil {
		return 0, err
	}
	if v := d.AsDuration(); v >= 0 {
		return v, nil
	}
	return 0, fmt.Errorf("duration %s is negative", d.AsDuration())
}

// socketAddress is an IPv4 address with a port.
func socketAddress(a *corev3.SocketAddress) (netip.AddrPort, error) {
	ip, err := netip.ParseAddr(a.GetAddress())
	if err != nil {
		return netip.AddrPort{}, in(err, "address")
	}
	if !ip.Is4() {
		return netip.AddrPort{}, fmt.Errorf("address: %s is not IPv4", ip)
	}
	if a.GetPortValue() > 65535 {
		return netip.AddrPort{}, fmt.Errorf("port_value: %d is not a port", a.GetPortValue())
	}
	return netip.AddrPortFrom(ip, uint16(a.GetPortValue())), nil
}
