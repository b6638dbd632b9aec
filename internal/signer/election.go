// SPDX-License-Identifier: Apache-2.0

package signer

import (
	"context"
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// Run stands for election, and answers requests whenever it is elected, until ctx
// ends; it then gives the lead up at once and returns nil.
func (s *Signer) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := s.stand(ctx); err != nil {
			return err
		}
		if ctx.Err() == nil {
			s.Log.Warn("lost the lead; standing by")
		}
	}
	return nil
}

// stand waits for the lead, uses it, and returns when it is lost or given up and
// nothing of it runs any more.
func (s *Signer) stand(ctx context.Context) error {
	var term term
	defer term.end()
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Name: s.Lease, Namespace: s.Namespace},
			Client:     s.Kubernetes.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: s.Identity},
			Labels:     labels(),
		},
		LeaseDuration: s.Election.Lease, RenewDeadline: s.Election.Renew, RetryPeriod: s.Election.Retry,
		ReleaseOnCancel: true,
		Name:            s.Lease,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) {
				if !term.begin() {
					return
				}
				defer term.running.Done()
				s.Log.Info("leading", "lease", s.Namespace+"/"+s.Lease, "as", s.Identity)
				s.lead(ctx)
			},
			OnStoppedLeading: func() {},
			OnNewLeader: func(identity string) {
				if identity != s.Identity {
					s.Log.Info("standing by", "leader", identity)
				}
			},
		},
	})
	if err != nil {
		return fmt.Errorf("standing for election: %w", err)
	}
	elector.Run(ctx)
	return nil
}

// term is one time of leading. The elector starts it in a goroutine that nobody
// waits for, possibly after the term is over.
type term struct {
	mu      sync.Mutex
	over    bool
	running sync.WaitGroup
}

func (t *term) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return false
	}
	t.running.Add(1)
	return true
}

func (t *term) end() {
	t.mu.Lock()
	t.over = true
	t.mu.Unlock()
	t.running.Wait()
}
