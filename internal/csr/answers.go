// SPDX-License-Identifier: Apache-2.0

package csr

import (
	"sync"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/client-go/tools/cache"
)

// answer ends the wait for a request.
type answer struct {
	chainPEM []byte
	err      error
}

// answers hands what the API server says of requests to who waits for it.
type answers struct {
	mu      sync.Mutex
	waiting map[string]chan answer // by name; capacity 1
}

// expect has the answer to a request sent to the channel that it returns. It must
// be called before the request is made, so that no answer can be missed.
func (a *answers) expect(name string) (<-chan answer, func()) {
	ch := make(chan answer, 1)
	a.mu.Lock()
	a.waiting[name] = ch
	a.mu.Unlock()
	return ch, func() {
		a.mu.Lock()
		delete(a.waiting, name)
		a.mu.Unlock()
	}
}

func (a *answers) deliver(name string, what answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ch, ok := a.waiting[name]; ok {
		ch <- what
		delete(a.waiting, name)
	}
}

// handler looks at every change of a request of this node.
func (a *answers) handler() cache.ResourceEventHandler {
	look := func(o any) {
		c, ok := o.(*certificatesv1.CertificateSigningRequest)
		if !ok {
			return
		}
		if chainPEM, err := answerOf(c); chainPEM != nil || err != nil {
			a.deliver(c.Name, answer{chainPEM: chainPEM, err: err})
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    look,
		UpdateFunc: func(_, now any) { look(now) },
		DeleteFunc: func(o any) {
			if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(o); err == nil {
				a.deliver(key, answer{err: errGone})
			}
		},
	}
}
