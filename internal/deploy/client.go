// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// Limits of requests to the API server. Looking for what is ours lists some
	// seventy kinds, and the API server has limits of its own.
	requestsPerSecond = 200
	requestsAtOnce    = 400
	// connectTimeout is how long the API server may take for its first answer. After
	// that a command waits as long as it was told to.
	connectTimeout = 10 * time.Second
	// look is how often the cluster is looked at while something is waited for.
	look = 500 * time.Millisecond
)

// Client speaks with one cluster.
type Client struct {
	Kube      kubernetes.Interface
	Dynamic   dynamic.Interface
	Discovery discovery.DiscoveryInterface
	Mapper    meta.RESTMapper

	config *rest.Config // for what streams
}

// Connect finds the cluster as kubectl does: the kubeconfig file named, else those
// of $KUBECONFIG, else ~/.kube/config, else the pod that this runs in. kubeContext
// is "" for the current one. Answers with what the API server says of itself, so
// that an unreachable one is known before anything else.
func Connect(ctx context.Context, kubeconfig, kubeContext string) (*Client, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: kubeContext}).ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, errors.New("no cluster is named: give --kubeconfig FILE, or set KUBECONFIG")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	c, err := NewClient(config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := c.Kube.CoreV1().RESTClient().Get().AbsPath("/version").Do(ctx).Error(); err != nil {
		return nil, fmt.Errorf("asking the API server at %s: %w", config.Host, err)
	}
	return c, nil
}

// NewClient makes the clients of one API server.
func NewClient(config *rest.Config) (*Client, error) {
	config = rest.AddUserAgent(config, Manager)
	config.QPS, config.Burst = requestsPerSecond, requestsAtOnce
	config.WarningHandlerWithContext = rest.NoWarnings{}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the API server: %w", err)
	}
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the API server: %w", err)
	}
	cached := memory.NewMemCacheClient(kube.Discovery())
	return &Client{
		Kube: kube, Dynamic: objects, Discovery: cached, config: config,
		Mapper: restmapper.NewDeferredDiscoveryRESTMapper(cached),
	}, nil
}

// resource is where an object of that kind, namespace and name is read and written.
func (c *Client) resource(o *unstructured.Unstructured) (dynamic.ResourceInterface, *meta.RESTMapping, error) {
	kind := o.GroupVersionKind()
	mapping, err := c.Mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		return nil, nil, fmt.Errorf("the cluster knows no %s of %s", kind.Kind, kind.GroupVersion())
	}
	if err != nil {
		return nil, nil, fmt.Errorf("asking what a %s is: %w", kind.Kind, err)
	}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		return c.Dynamic.Resource(mapping.Resource).Namespace(o.GetNamespace()), mapping, nil
	}
	return c.Dynamic.Resource(mapping.Resource), mapping, nil
}

// poll looks every so often until done says that it is done, or ctx ends. Errors
// of the API server are no end: it may be away for a moment.
func poll(ctx context.Context, done func(context.Context) (bool, error)) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	var last error
	for {
		ok, err := done(ctx)
		switch {
		case ok:
			return nil
		case err != nil && ctx.Err() == nil:
			last = err
		case err == nil:
			last = nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), last)
		case <-tick.C:
		}
	}
}

// cached lets a list be answered from the API server's memory: fresh enough for
// something that is looked at twice a second.
func cached(selector string) metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: selector, ResourceVersion: "0"}
}

// printer writes lines for a person.
type printer struct{ out io.Writer }

func (p printer) say(format string, args ...any) { fmt.Fprintf(p.out, format+"\n", args...) }

// since is the time that has passed, as it is printed.
func since(begun time.Time) string { return fmt.Sprintf("%.1f s", time.Since(begun).Seconds()) }
