// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ambient22/ambient22/internal/proxy/admin"
	"github.com/ambient22/ambient22/internal/proxy/bootstrap"
)

const (
	// drainSeconds is for how long Envoy lets go of connections of a listener that
	// changed; Istio's default.
	drainSeconds = 45
	// killAfter is how long Envoy may take to end after SIGTERM.
	killAfter = 30 * time.Second
)

// engineExit is an Envoy that ended by itself with other than success.
type engineExit struct {
	code int
	err  error
}

func (e *engineExit) Error() string { return "running Envoy: " + e.err.Error() }
func (e *engineExit) Unwrap() error { return e.err }

// runEnvoy starts a real Envoy on the bootstrap and stays until it ends.
func runEnvoy(ctx context.Context, o *proxyOptions, extra []string, stdout, stderr io.Writer) error {
	settings, err1 := o.bootstrap()
	log, _, err2 := o.logger(stderr)
	err3 := checkExecutable(o.envoyPath)
	if err := errors.Join(err1, err2, flagError("--envoy-path", err3)); err != nil {
		return err
	}
	file, cleanUp, err := writeBootstrap(settings)
	if err != nil {
		return err
	}
	defer cleanUp()
	ready, metrics := askEnvoy(ctx, settings)
	pages, err := o.pages(ctx, ready, metrics)
	if err != nil {
		return err
	}
	defer closePages(pages)
	args := append(envoyArgs(o, settings, file), extra...)
	drain := envoyDrain{admin: settings.AdminAddr.String(), limit: o.drain, log: log}
	return together(ctx, pages, func(ctx context.Context) error {
		return supervise(ctx, log, drain.run, o.envoyPath, args, stdout, stderr)
	})
}

// checkExecutable says what is wrong with the path before anything was started.
func checkExecutable(path string) error {
	if path == "" {
		return errors.New("is required with --engine=envoy: the envoy binary of istio/proxyv2:1.16 (usr/local/bin/envoy in the image)")
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a folder, not the Envoy binary", path)
	case info.Mode()&0o111 == 0:
		return fmt.Errorf("%s is not executable (chmod +x it)", path)
	}
	return nil
}

// writeBootstrap puts the bootstrap where Envoy, and nobody else, can read it.
func writeBootstrap(settings bootstrap.Options) (file string, cleanUp func(), err error) {
	b, err := bootstrap.Build(settings)
	if err != nil {
		return "", nil, err
	}
	text, err := bootstrap.JSON(b)
	if err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp("", "ztunnel-envoy-")
	if err != nil {
		return "", nil, fmt.Errorf("making a folder for the bootstrap: %w", err)
	}
	cleanUp = func() { _ = os.RemoveAll(dir) } // a leftover in /tmp harms nobody
	file = filepath.Join(dir, "envoy-rev.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		cleanUp()
		return "", nil, fmt.Errorf("writing the bootstrap: %w", err)
	}
	return file, cleanUp, nil
}

// envoyArgs is Envoy's command line as the agent in istio/proxyv2:1.16 builds it.
// There is no hot restart: a new ztunnel is a new pod.
func envoyArgs(o *proxyOptions, settings bootstrap.Options, file string) []string {
	level := strings.ToLower(o.logLevel)
	if level == "warn" {
		level = "warning"
	}
	args := []string{
		"-c", file,
		"--service-cluster", settings.ServiceCluster,
		"--service-node", settings.NodeID(),
		"--drain-time-s", strconv.Itoa(drainSeconds),
		"--drain-strategy", "immediate",
		"--local-address-ip-version", "v4",
		"--file-flush-interval-msec", "1000",
		"--disable-hot-restart",
		"--log-level", level,
	}
	if o.concurrency > 0 {
		args = append(args, "--concurrency", strconv.FormatUint(uint64(o.concurrency), 10))
	}
	return args
}

// supervise runs the program until it ends: it passes signals on, and tells it to
// end when the context does and drain has returned.
func supervise(ctx context.Context, log *slog.Logger, drain func(), path string, args []string, stdout, stderr io.Writer) error {
	// The kernel ties the death signal below to the thread that started the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.Cancel = func() error {
		drain()
		return cmd.Process.Signal(syscall.SIGTERM)
	}
	cmd.WaitDelay = killAfter
	// An Envoy that outlived its supervisor would hold the ports against the next.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}

	// SIGUSR1 has Envoy open its log files anew. SIGINT and SIGTERM end the context.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGHUP)
	defer signal.Stop(signals)

	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting Envoy: %w", err)
	}
	log.Info("started Envoy", "path", path, "pid", cmd.Process.Pid)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case s := <-signals:
				_ = cmd.Process.Signal(s) // it may just have ended
			case <-ended:
				return
			}
		}
	}()
	return exitOf(ctx, cmd.Wait())
}

// exitOf tells an Envoy that ended because it was told to from one that failed.
func exitOf(ctx context.Context, err error) error {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return nil // it ended with success after SIGTERM
		}
		if err != nil {
			return fmt.Errorf("waiting for Envoy: %w", err)
		}
		return nil
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		if ctx.Err() != nil && status.Signal() == syscall.SIGTERM {
			return nil
		}
		// As a shell reports it.
		return &engineExit{code: 128 + int(status.Signal()), err: err}
	}
	return &engineExit{code: exit.ExitCode(), err: err}
}

// Statistics that count what was taken over whole. A proxy whose first configuration
// was refused calls itself live all the same, and would be made the node's ztunnel.
const (
	clustersTaken  = "cluster_manager.cds.update_success"
	listenersTaken = "listener_manager.lds.update_success"
)

// askEnvoy answers readiness and metrics by asking Envoy's own admin interface. Once
// ctx has ended, the pod is not ready, whatever Envoy says.
func askEnvoy(ctx context.Context, settings bootstrap.Options) (readiness, metrics http.Handler) {
	base := &url.URL{Scheme: "http", Host: settings.AdminAddr.String()}
	client := &http.Client{Timeout: 2 * time.Second}
	ask := func(r *http.Request, path, query string) (body string, ok bool) {
		page := base.JoinPath(path)
		page.RawQuery = query
		request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, page.String(), nil)
		if err != nil {
			return "", false
		}
		response, err := client.Do(request)
		if err != nil {
			return "", false
		}
		defer response.Body.Close()
		text, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
		return string(text), err == nil && response.StatusCode == http.StatusOK
	}
	var taken atomic.Bool // for good: a later refusal leaves what was there
	configured := func(r *http.Request) bool {
		if taken.Load() {
			return true
		}
		counts, ok := ask(r, "/stats", "usedonly&filter="+url.QueryEscape("update_success$"))
		if ok && counted(counts, clustersTaken) && counted(counts, listenersTaken) {
			taken.Store(true)
		}
		return taken.Load()
	}
	readiness = admin.Readiness(func(r *http.Request) bool {
		if ctx.Err() != nil {
			return false
		}
		_, live := ask(r, "/ready", "")
		return live && configured(r)
	})
	mux := http.NewServeMux()
	mux.Handle("GET "+admin.MetricsPath, httputil.NewSingleHostReverseProxy(base))
	return readiness, mux
}

// counted reports whether a page of Envoy's statistics ("name: value" lines) has the
// counter above zero.
func counted(page, name string) bool {
	for line := range strings.Lines(page) {
		if value, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimSpace(value) != "0"
		}
	}
	return false
}
