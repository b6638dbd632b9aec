// SPDX-License-Identifier: Apache-2.0

// Package workloadmetadata holds the message that a ztunnel receives over ECDS
// for its workload_metadata listener filter: who is behind which address.
package workloadmetadata

//go:generate go build -o protoc-gen-go google.golang.org/protobuf/cmd/protoc-gen-go
//go:generate protoc --plugin=./protoc-gen-go --go_out=. --go_opt=paths=source_relative workloadmetadata.proto
//go:generate rm protoc-gen-go
