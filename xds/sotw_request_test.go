// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// TestSotwRequest compares what is read by hand with what protobuf reads, with the
// fields in any order and names strewn among them.
func TestSotwRequest(t *testing.T) {
	seed := maphash.MakeSeed()
	random := rand.New(rand.NewPCG(1, 22))
	for range 300 {
		want := &discoveryv3.DiscoveryRequest{
			Node: node(), TypeUrl: endpoints.typeURL(), VersionInfo: "v", ResponseNonce: "7", ErrorDetail: refusal("no"),
		}
		fields := splitFields(t, want)
		for i := range random.IntN(6) {
			name := fmt.Sprint(i % 4)
			want.ResourceNames = append(want.ResourceNames, name)
			at := random.IntN(len(fields) + 1)
			if random.IntN(2) == 0 {
				at = len(fields)
			}
			fields = slices.Insert(fields, at, protowire.AppendString(protowire.AppendTag(nil, fieldNames, protowire.BytesType), name))
		}
		wire := slices.Concat(fields...)
		got := sotwRequest{seed: seed}
		if err := got.unmarshal(slices.Clone(wire)); err != nil {
			t.Fatal(err)
		}
		sameRequest(t, &got, want)
		for cut := range wire { // some cuts leave a whole request
			part := &sotwRequest{seed: seed}
			if err := part.unmarshal(wire[:cut]); err == nil {
				part.names.set()
			} else if proto.Unmarshal(wire[:cut], &discoveryv3.DiscoveryRequest{}) == nil {
				t.Fatalf("%x is refused: %v", wire[:cut], err)
			}
		}
	}
}

// sameRequest compares a request with the same, read by protobuf.
func sameRequest(t *testing.T, got *sotwRequest, want *discoveryv3.DiscoveryRequest) {
	t.Helper()
	names := slices.Sorted(maps.Keys(got.names.set()))
	slices.Sort(want.ResourceNames)
	if unique := slices.Compact(want.ResourceNames); !slices.Equal(names, unique) {
		t.Fatalf("names %q, want %q", names, unique)
	}
	want.ResourceNames = nil
	if !proto.Equal(&got.rest, want) {
		t.Fatalf("got %v, want %v", &got.rest, want)
	}
}

// splitFields is a message's wire form, one element a field.
func splitFields(t *testing.T, m proto.Message) (fields [][]byte) {
	t.Helper()
	wire, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	for len(wire) > 0 {
		_, _, n := protowire.ConsumeField(wire)
		fields, wire = append(fields, wire[:n]), wire[n:]
	}
	return fields
}

// FuzzSotwRequest: whatever comes is taken as protobuf takes it, or refused.
func FuzzSotwRequest(f *testing.F) {
	whole, err := proto.Marshal(ask(endpoints, "alpha", "beta"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte{0x1a, 1, 'a', 0x0a, 1, 'v', 0x1a, 1, 'b', 0x1a, 0})
	seed := maphash.MakeSeed()
	f.Fuzz(func(t *testing.T, wire []byte) {
		want := &discoveryv3.DiscoveryRequest{}
		wantErr := proto.Unmarshal(wire, want)
		got := sotwRequest{seed: seed}
		if err := got.unmarshal(slices.Clone(wire)); (err == nil) != (wantErr == nil) {
			if err == nil && strings.Contains(wantErr.Error(), "UTF-8") {
				return // such a name is no resource's: it is asked for in vain
			}
			t.Fatalf("got %v, protobuf says %v", err, wantErr)
		}
		if wantErr != nil {
			return
		}
		sameRequest(t, &got, want)
	})
}
