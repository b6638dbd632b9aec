// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/ambient22/ambient22/internal/csr"
	"github.com/ambient22/ambient22/internal/mesh"
	"github.com/ambient22/ambient22/internal/osthread"
)

const (
	// loneIdentity is that of the only pod of a service account.
	loneAccount  = "lone"
	loneIdentity = "spiffe://cluster.local/ns/" + meshed + "/sa/" + loneAccount
	secretType   = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	// nobody is a user that is not allowed to ask the node controller.
	nobody = 65534
)

// testIdentities asks for certificates of an identity from a node that has no pod of
// it, in each way there is.
func (w *world) testIdentities(t *testing.T) {
	with, without := nodes()[0], nodes()[1]
	lone := strings.Replace(lonePod("lone", with), `"spec": {`, `"spec": {"serviceAccountName": "`+loneAccount+`", `, 1)
	if _, err := kubectl(t.Context(), lone, "-n", meshed, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	defer w.removePod(t, meshed, "lone")
	must(t, "-n", meshed, "wait", "pod/lone", "--for=condition=Ready", "--timeout=60s")
	await(t, time.Now(), w.traces(meshed, w.podNamed(t, meshed, "lone")))
	t.Run("SDS", func(t *testing.T) { w.testSDS(t, with, without) })
	t.Run("SDS as another user", func(t *testing.T) { w.testOtherUser(t, with) })
	t.Run("request of another node", func(t *testing.T) { w.testForeignRequest(t, with, without) })
	t.Run("request of a pod", w.testPodRequest)
}

// testSDS: the node that has the pod gives its certificate, the other none.
func (w *world) testSDS(t *testing.T, with, without string) {
	if n, err := askSDS(t.Context(), with, loneIdentity); n != 1 || err != nil {
		t.Errorf("%s, which has the pod, gave %d certificates: %v", with, n, err)
	}
	before, said := w.counter(t, w.hosts[without], "ambient22_xds_refused_secrets_total"), w.log(t, "ambient-node", without)
	n, err := askSDS(t.Context(), without, loneIdentity)
	if n != 0 || err != nil {
		t.Errorf("%s, which has no pod of it, gave %d certificates: %v", without, n, err)
	}
	counted := w.counter(t, w.hosts[without], "ambient22_xds_refused_secrets_total") - before
	line := newLine(w.log(t, "ambient-node", without), said, loneIdentity)
	if counted != 1 || line == "" {
		t.Errorf("counted %d, logged %q", counted, line)
	}
	figure(t, "SDS on %s for the identity of a pod on %s: no certificate; counted +%d; logged: %s", without, with, counted, line)
}

// askSDS asks a node's controller for a secret over its socket, as its ztunnel does,
// and returns how many it gives.
func askSDS(ctx context.Context, node, secret string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	socket, err := xdsSocket(ctx, node)
	if err != nil {
		return 0, err
	}
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	stream, err := secretv3.NewSecretDiscoveryServiceClient(conn).StreamSecrets(ctx)
	if err != nil {
		return 0, err
	}
	err = stream.Send(&discoveryv3.DiscoveryRequest{
		Node: &corev3.Node{Id: "a test"}, TypeUrl: secretType, ResourceNames: []string{secret},
	})
	if err != nil {
		return 0, err
	}
	response, err := stream.Recv()
	return len(response.GetResources()), err
}

// xdsSocket is the node controller's socket, seen from this machine.
func xdsSocket(ctx context.Context, node string) (string, error) {
	// The first process is number 1 in the host; its outer number leads to its files.
	out, err := onHost(ctx, node, "sh", "-c", "stat -c '%d %i' /run/ambient22/xds/xds.sock")
	if err != nil {
		return "", err
	}
	sockets, err := fs.Glob(os.DirFS("/proc"), "[0-9]*/root/run/ambient22/xds/xds.sock")
	if err != nil {
		return "", err
	}
	for _, s := range sockets {
		var stat unix.Stat_t
		if err := unix.Stat("/proc/"+s, &stat); err == nil && fmt.Sprintf("%d %d", stat.Dev, stat.Ino) == strings.TrimSpace(out) {
			return "/proc/" + s, nil
		}
	}
	return "", errors.New("no process shows the socket of " + node)
}

// testOtherUser: another user of the node, such as one in a pod that has the folder
// mounted, is not answered at all.
func (w *world) testOtherUser(t *testing.T, node string) {
	socket, err := xdsSocket(t.Context(), node)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(socket, unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	before := w.counter(t, w.hosts[node], "ambient22_xds_refused_peers_total")
	how := "the connection was closed"
	err = osthread.Throwaway(func() error {
		// This thread alone; with the user go all of its rights.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			return errno
		}
		conn, err := net.Dial("unix", "/proc/self/fd/"+strconv.Itoa(int(file.Fd())))
		if errors.Is(err, unix.EACCES) {
			how = "the socket's mode forbids it"
			return nil
		}
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(callTimeout)); err != nil {
			return err
		}
		if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("it was answered: %d bytes, %w", n, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	figure(t, "SDS asked by another user: %s; counted +%d", how, w.counter(t, w.hosts[node], "ambient22_xds_refused_peers_total")-before)
}

// testForeignRequest: with everything that the node controller of one node has, a
// request for an identity of the other node's pod is denied.
func (w *world) testForeignRequest(t *testing.T, with, without string) {
	controller := pods(t, mesh.RootNamespace, "ambient-node")[without]
	token, err := w.api.CoreV1().ServiceAccounts(mesh.RootNamespace).CreateToken(t.Context(), "ambient-node", &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{
			Kind: "Pod", APIVersion: "v1", Name: controller.Metadata.Name,
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	before, said := w.signerCounter(t), w.log(t, "ambient-signer", "")
	request, err := requestAs(t, token.Status.Token, loneIdentity)
	if err != nil {
		t.Fatal(err)
	}
	var why string
	eventually(t, "the signer's answer", func() error {
		now, err := w.api.CertificatesV1().CertificateSigningRequests().Get(t.Context(), request, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(now.Status.Certificate) > 0 {
			t.Fatal("it was signed")
		}
		for _, c := range now.Status.Conditions {
			if c.Type == certificatesv1.CertificateDenied {
				why = c.Reason + ": " + c.Message
				return nil
			}
		}
		return errors.New("none yet")
	})
	counted := w.signerCounter(t) - before
	line := newLine(w.log(t, "ambient-signer", ""), said, loneIdentity)
	if counted != 1 || line == "" {
		t.Errorf("counted %d, logged %q", counted, line)
	}
	figure(t, "request with the token of %s for the identity of a pod on %s: denied, %s; counted +%d; logged: %s", without, with, why, counted, line)
}

// testPodRequest: a pod's own token allows no request at all.
func (w *world) testPodRequest(t *testing.T) {
	token, err := w.api.CoreV1().ServiceAccounts(meshed).CreateToken(t.Context(), loneAccount, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = requestAs(t, token.Status.Token, loneIdentity); !apierrors.IsForbidden(err) {
		t.Fatalf("got %v, want that it is forbidden", err)
	}
	figure(t, "request with a pod's own token: forbidden by the API server")
}

// requestAs makes a request for an identity with somebody's token and returns its
// name.
func requestAs(t *testing.T, token, identity string) (string, error) {
	t.Helper()
	own, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(own)
	config.BearerToken = token
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	id, err := url.Parse(identity)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{id}}, key)
	if err != nil {
		t.Fatal(err)
	}
	made, err := client.CertificatesV1().CertificateSigningRequests().Create(t.Context(), &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "not-ours-"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			SignerName: csr.SignerName, Usages: csr.Usages(),
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return made.Name, nil
}

// counter adds up a metric of a program that answers on a port of its own network,
// over all labels.
func (w *world) counter(t *testing.T, in *inPod, name string) (sum int) {
	t.Helper()
	text, err := fetch(t.Context(), in.http, "http://127.0.0.1:15014/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok && (rest[0] == ' ' || rest[0] == '{') {
			value, err := strconv.Atoi(strings.Fields(line)[len(strings.Fields(line))-1])
			if err != nil {
				t.Fatal(err)
			}
			sum += value
		}
	}
	return sum
}

// signerCounter is how many requests all signers have refused.
func (w *world) signerCounter(t *testing.T) (sum int) {
	t.Helper()
	for _, p := range w.allPods(t, "ambient-signer") {
		sum += w.counter(t, enter(t, p), "ambient_signer_refused_total")
	}
	return sum
}

// log is what the pods of an app have said, on one node or on all.
func (w *world) log(t *testing.T, app, node string) string {
	t.Helper()
	var all strings.Builder
	for _, p := range w.allPods(t, app) {
		if node == "" || p.Spec.NodeName == node {
			all.WriteString(must(t, "-n", mesh.RootNamespace, "logs", p.Metadata.Name, "-c", app))
		}
	}
	return all.String()
}

// allPods are our pods of an app, several of which may be on one node.
func (w *world) allPods(t *testing.T, app string) (all []pod) {
	t.Helper()
	list, err := w.api.CoreV1().Pods(mesh.RootNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list.Items {
		all = append(all, podOf(&p))
	}
	return all
}

// newLine is a line with a text that an earlier log did not have.
func newLine(now, before, text string) string {
	known := lines(before)
	for line := range strings.Lines(now) {
		if line = strings.TrimSpace(line); strings.Contains(line, text) && !known[line] && strings.Contains(line, "level=WARN") {
			return line
		}
	}
	return ""
}
