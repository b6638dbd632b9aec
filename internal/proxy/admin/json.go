// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	// The one type of the configuration that nothing else in a ztunnel links in: the
	// proxy reads it from the wire.
	_ "github.com/ambient22/ambient22/envoyconfig/workloadmetadata"
)

// marshal prints a message as Envoy's admin interface does: the proto's own field
// names, one space of indentation, defaults left out.
func marshal(m proto.Message) ([]byte, error) {
	raw, err := protojson.MarshalOptions{UseProtoNames: true, Resolver: allTypes()}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("printing %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	// protojson varies its white space on purpose; Indent makes it one form.
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", " "); err != nil {
		return nil, fmt.Errorf("indenting %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

func replyJSON(w http.ResponseWriter, m proto.Message) {
	body, err := marshal(m)
	if err != nil {
		text(w, http.StatusInternalServerError, err.Error()+"\n")
		return
	}
	reply(w, http.StatusOK, "application/json", body)
}

// resolver knows the types that are linked in, and takes any other for a message
// without fields: a refused resource may hold an extension nobody here has heard
// of, and a dump that fails for it would hide the refusal itself. Such a message
// prints as its @type alone.
type resolver struct{ *protoregistry.Types }

func allTypes() resolver { return resolver{protoregistry.GlobalTypes} }

// FindMessageByURL finds the type behind an Any's @type.
func (r resolver) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	t, err := r.Types.FindMessageByURL(url)
	if err == nil {
		return t, nil
	}
	return emptyMessage(url)
}

func emptyMessage(url string) (protoreflect.MessageType, error) {
	name := protoreflect.FullName(url[strings.LastIndex(url, "/")+1:])
	if !name.IsValid() {
		return nil, protoregistry.NotFound
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name:        proto.String("unknown.proto"),
		Package:     proto.String(string(name.Parent())),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String(string(name.Name()))}},
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("standing in for %s: %w", name, err)
	}
	return dynamicpb.NewMessageType(file.Messages().Get(0)), nil
}
