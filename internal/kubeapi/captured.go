// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ambient22/ambient22/internal/mesh"
)

// Captured tells the source what the node does with its pods: the annotation and
// the events follow that, and not what was asked for. It never waits. Only one
// goroutine may call it; of captures that come quickly after one another the last
// counts.
func (s *Source) Captured(c *mesh.Capture) {
	s.publish(func(n *news) { n.capture = c })
	select {
	case <-s.captures:
	default:
	}
	s.captures <- c
}

// followCaptures keeps annotations and events true to what the node does.
func (s *Source) followCaptures(ctx context.Context) {
	explainer := &podExplainer{recorder: s.recorder}
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-s.captures:
			pods := kept[*corev1.Pod](s.caches.pods)
			stand := standings(c, s.Node)
			for uid, is := range stand {
				if !is.captured && s.claims.removed(uid) {
					is.why = "its network was taken down"
					stand[uid] = is
				}
			}
			explainer.changed(stand, pods, kept[*corev1.Namespace](s.caches.namespaces))
			captured := map[types.UID]bool{}
			for uid, is := range stand {
				captured[uid] = is.captured
			}
			s.marker.set(captured, pods)
		}
	}
}
