// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxRequestBytes is far more than a pod's names and addresses take.
	maxRequestBytes = 1 << 20
	// patience is how long a plugin that does not say so waits for an answer, and
	// longestPatience how long any may: container runtimes give up after some minutes.
	patience        = 20 * time.Second
	longestPatience = 2 * time.Minute

	pathAdd = "/v1/add"
)

// request is the body of every call.
type request struct {
	Pod
	WaitMilliseconds int64 `json:"waitMilliseconds,omitempty"`
}

func (r request) patience() time.Duration {
	if r.WaitMilliseconds <= 0 {
		return patience
	}
	return min(time.Duration(r.WaitMilliseconds)*time.Millisecond, longestPatience)
}

// Serve answers plugins on a Unix socket until ctx ends, and closes it. Only root
// may ask: who asks has a pod captured.
func Serve(ctx context.Context, listener net.Listener, c Controller, log *slog.Logger) error {
	s := &server{log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathAdd, s.handle(c.Add))
	mux.HandleFunc("POST /v1/check", s.handle(c.Check))
	mux.HandleFunc("POST /v1/del", s.handle(func(_ context.Context, p Pod) (Answer, error) {
		c.Del(p)
		return Answer{}, nil
	}))
	web := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, peer(conn))
		},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { web.Close() })
	defer stop()
	if err := web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving CNI plugins on %s: %w", listener.Addr(), err)
	}
	return nil
}

type server struct {
	log *slog.Logger
}

// handle decodes a call and encodes what comes of it.
func (s *server) handle(do func(context.Context, Pod) (Answer, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if uid, known := r.Context().Value(peerKey{}).(uint32); !known || uid != 0 {
			s.log.Warn("a process that is not root's asked as a CNI plugin; it was refused", "uid", uid)
			reply(w, http.StatusForbidden, &Refusal{What: "only root may ask"})
			return
		}
		var req request
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequestBytes)).Decode(&req); err != nil {
			reply(w, http.StatusBadRequest, &Refusal{What: fmt.Sprintf("reading the request: %v", err)})
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), req.patience())
		defer cancel()
		start := time.Now()
		answer, err := do(ctx, req.Pod)
		log := s.log.With("pod", req.Namespace+"/"+req.Name, "uid", req.UID, "ips", req.IPs, "container", req.ContainerID, "took", time.Since(start))
		if err != nil {
			no := refusal(err)
			if no.Starting { // the plugin asks again, several times a second, or lets the pod pass
				log.Debug("a CNI plugin asked too early", "call", r.URL.Path)
			} else {
				log.Warn("a pod may not start", "call", r.URL.Path, "why", err)
			}
			reply(w, http.StatusConflict, no)
			return
		}
		level := slog.LevelDebug
		if answer.Captured && r.URL.Path == pathAdd {
			level = slog.LevelInfo // how long the pod was held back for it
		}
		log.Log(ctx, level, "answered a CNI plugin", "call", r.URL.Path, "captured", answer.Captured, "why_not", answer.Why)
		reply(w, http.StatusOK, answer)
	}
}

func refusal(err error) *Refusal {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return &Refusal{Again: true, What: err.Error()}
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // who does not read it has gone
}

// peerKey is where a connection's user id is kept.
type peerKey struct{}

// peer is the user id of who connected, which the kernel vouches for, or an error.
func peer(conn net.Conn) any {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return errors.New("not a Unix socket")
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var who any
	if err := raw.Control(func(fd uintptr) {
		credentials, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			who = err
			return
		}
		who = credentials.Uid
	}); err != nil {
		return err
	}
	return who
}
