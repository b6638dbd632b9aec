// SPDX-License-Identifier: Apache-2.0

package signer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/ambient22/ambient22/internal/ca"
	"github.com/ambient22/ambient22/internal/csr"
)

const (
	// look is how often the Secret and the ConfigMap are read without any news.
	look = time.Minute
	// Pauses after a look that failed.
	firstRetry = 200 * time.Millisecond
	lastRetry  = 10 * time.Second
)

// keeper keeps the authority in its Secret and the bundle in its ConfigMap. One
// that doesn't lead any more does no harm: what it writes must follow on what it
// read, or the API server refuses it.
type keeper struct {
	client    kubernetes.Interface
	namespace string
	secret    string
	bundle    string
	schedule  schedule
	log       *slog.Logger
	metrics   *metrics
	wake      chan struct{} // capacity 1: one of the two objects was changed

	authority *authority // nil until it was read; only run's goroutine uses it
	rotating  bool       // the annotation asks for it; likewise

	signing   atomic.Pointer[ca.Root]
	ready     chan struct{} // closed when signing is set for the first time
	lastFault atomic.Pointer[error]
}

// run keeps both until ctx ends.
func (k *keeper) run(ctx context.Context) {
	wait := time.Duration(0)
	for {
		due, err := k.turn(ctx, time.Now().Round(0))
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			wait = min(max(2*wait, firstRetry), lastRetry)
			k.lastFault.Store(&err)
			k.metrics.faults.Inc()
			k.log.Error("the authority or its bundle could not be kept", "err", err, "again_in", wait)
		} else {
			k.lastFault.Store(nil)
			wait = 0
		}
		next := wait
		if err == nil {
			next = max(min(look, time.Until(due)), 0)
		}
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		case <-time.After(next):
		}
	}
}

// turn brings Secret and ConfigMap to where they should be now, the ConfigMap
// first where a root is to be trusted before it signs. It says when to look again
// at the latest.
func (k *keeper) turn(ctx context.Context, now time.Time) (due time.Time, err error) {
	secret, err := k.read(ctx, now)
	if err != nil {
		return due, err
	}
	published := false
	for {
		next, err := k.schedule.step(k.authority, now, k.rotating, published)
		if err != nil {
			return due, err
		}
		if next != k.authority {
			if secret, err = k.save(ctx, secret, next); err != nil {
				return due, err
			}
			k.say(k.authority, next)
			k.rotating = k.rotating && !founded(k.authority, next)
			k.authority = next
			published = false
		} else if published {
			break
		}
		if err := k.publish(ctx); err != nil {
			return due, err
		}
		published = true
	}
	k.use()
	return k.schedule.due(k.authority), nil
}

// use signs with the root that everybody can read of now.
func (k *keeper) use() {
	first := k.signing.Swap(k.authority.signing) == nil
	k.metrics.rootExpiry.Set(float64(k.authority.signing.NotAfter().Unix()))
	if first {
		close(k.ready)
	}
}

// read takes over what the Secret says, and makes it where there is none: from what
// this signer has in memory, or else anew.
func (k *keeper) read(ctx context.Context, now time.Time) (*corev1.Secret, error) {
	secret, err := k.client.CoreV1().Secrets(k.namespace).Get(ctx, k.secret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return k.create(ctx, now)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the Secret %s/%s: %w", k.namespace, k.secret, err)
	}
	a, err := decode(k.schedule.domain, secret.Data, now)
	if err != nil {
		return nil, fmt.Errorf("reading the Secret %s/%s: %w", k.namespace, k.secret, err)
	}
	_, k.rotating = secret.Annotations[AnnotationRotate]
	if k.authority == nil {
		k.log.Info("took the authority from its Secret", "root_until", a.signing.NotAfter())
	}
	k.authority = a
	return secret, nil
}

func (k *keeper) create(ctx context.Context, now time.Time) (*corev1.Secret, error) {
	a := k.authority
	if a == nil {
		var err error
		if a, err = k.schedule.found(now); err != nil {
			return nil, err
		}
	}
	data, err := a.encode()
	if err != nil {
		return nil, err
	}
	secret, err := k.client.CoreV1().Secrets(k.namespace).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: k.secret, Namespace: k.namespace, Labels: labels()},
		Type:       corev1.SecretTypeOpaque, Data: data,
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("creating the Secret %s/%s: %w", k.namespace, k.secret, err)
	}
	if k.authority == nil {
		k.log.Info("made a certificate authority", "secret", k.namespace+"/"+k.secret, "root_until", a.signing.NotAfter())
	} else {
		k.log.Warn("somebody deleted the authority's Secret; put it back", "secret", k.namespace+"/"+k.secret)
	}
	k.authority, k.rotating = a, false
	return secret, nil
}

// save writes the authority's next stage, if the Secret is still what was read.
func (k *keeper) save(ctx context.Context, secret *corev1.Secret, next *authority) (*corev1.Secret, error) {
	data, err := next.encode()
	if err != nil {
		return nil, err
	}
	changed := secret.DeepCopy()
	changed.Data = data
	if founded(k.authority, next) {
		delete(changed.Annotations, AnnotationRotate)
	}
	saved, err := k.client.CoreV1().Secrets(k.namespace).Update(ctx, changed, metav1.UpdateOptions{})
	if err != nil {
		return nil, fmt.Errorf("writing the Secret %s/%s: %w", k.namespace, k.secret, err)
	}
	return saved, nil
}

// founded reports whether a stage began with a new root. What was asked for while the
// root before it was on its way is still to be done.
func founded(before, now *authority) bool { return before.next == nil && now.next != nil }

// say logs a change of roots.
func (k *keeper) say(before, now *authority) {
	switch {
	case before.signing != now.signing:
		k.log.Info("signing with the new root", "root_until", now.signing.NotAfter())
	case founded(before, now):
		k.log.Info("made the next root; it stands in the bundle before it signs", "for", k.schedule.bundleFirst)
	case len(now.retired) < len(before.retired):
		k.log.Info("took a root out of the bundle: nothing that it signed is valid any more")
	}
}

// publish makes the ConfigMap say what the bundle is. Other keys in it are left alone.
func (k *keeper) publish(ctx context.Context) error {
	configMaps, where := k.client.CoreV1().ConfigMaps(k.namespace), k.namespace+"/"+k.bundle
	want := string(k.authority.bundle())
	have, err := configMaps.Get(ctx, k.bundle, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = configMaps.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: k.bundle, Namespace: k.namespace, Labels: labels()},
			Data:       map[string]string{csr.BundleKey: want},
		}, metav1.CreateOptions{})
	case err != nil:
		return fmt.Errorf("reading the trust bundle %s: %w", where, err)
	case have.Data[csr.BundleKey] == want:
		return nil
	default:
		changed := have.DeepCopy()
		if changed.Data == nil {
			changed.Data = map[string]string{}
		}
		changed.Data[csr.BundleKey] = want
		_, err = configMaps.Update(ctx, changed, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("writing the trust bundle %s: %w", where, err)
	}
	k.metrics.bundles.Inc()
	k.log.Info("wrote the trust bundle", "config_map", where)
	return nil
}

// fault is why the last turn failed, nil where it didn't.
func (k *keeper) fault() error {
	if err := k.lastFault.Load(); err != nil {
		return *err
	}
	if k.signing.Load() == nil {
		return errors.New("the certificate authority has not been read yet")
	}
	return nil
}

func labels() map[string]string { return map[string]string{csr.LabelPartOf: csr.PartOf} }
