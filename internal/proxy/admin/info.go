// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"net/http"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// serverInfo answers /server_info.
func (s *server) serverInfo(w http.ResponseWriter, _ *http.Request) {
	snapshot := s.Source.State()
	uptime := durationpb.New(max(0, s.Now().Sub(snapshot.Started)).Truncate(time.Second))
	out := &adminv3.ServerInfo{
		Version:            s.Version,
		State:              s.state(),
		UptimeCurrentEpoch: uptime,
		UptimeAllEpochs:    uptime,
		HotRestartVersion:  "disabled",
		CommandLineOptions: &adminv3.CommandLineOptions{
			ServiceCluster:    snapshot.Bootstrap.GetNode().GetCluster(),
			ServiceNode:       snapshot.Bootstrap.GetNode().GetId(),
			DisableHotRestart: true,
		},
		Node: snapshot.Bootstrap.GetNode(),
	}
	if len(s.Loggers) > 0 {
		out.CommandLineOptions.LogLevel = levelName(s.Loggers[0].Level.Level())
	}
	out = proto.Clone(out).(*adminv3.ServerInfo) // the node belongs to the proxy
	if err := redact(out); err != nil {
		text(w, http.StatusInternalServerError, err.Error()+"\n")
		return
	}
	replyJSON(w, out)
}
