// SPDX-License-Identifier: Apache-2.0

package ca

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// openDirEnv makes this test binary open the named directory and print the trust
// bundle it got, instead of running tests.
const openDirEnv = "AMBIENT22_TEST_OPEN_CA"

func TestMain(m *testing.M) {
	dir := os.Getenv(openDirEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	a, err := Open(dir, Options{TrustDomain: "cluster.local"})
	if err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	os.Stdout.Write(a.Roots())
}

func TestFirstUseByManyProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "ca")
	const processes = 12
	var wg sync.WaitGroup
	bundles := make([][]byte, processes)
	for i := range bundles {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), openDirEnv+"="+dir)
			out, err := cmd.Output()
			if err != nil {
				t.Errorf("process %d: %v", i, err)
			}
			bundles[i] = out
		})
	}
	wg.Wait()
	wantOneRoot(t, dir, bundles)
}

func TestFirstUseByManyGoroutines(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	var wg sync.WaitGroup
	bundles := make([][]byte, 50)
	for i := range bundles {
		wg.Go(func() {
			a, err := Open(dir, Options{TrustDomain: "cluster.local"})
			if err != nil {
				t.Errorf("opening: %v", err)
				return
			}
			bundles[i] = a.Roots()
		})
	}
	wg.Wait()
	wantOneRoot(t, dir, bundles)
}

func wantOneRoot(t *testing.T, dir string, bundles [][]byte) {
	t.Helper()
	for i, b := range bundles {
		if len(b) == 0 || !bytes.Equal(b, bundles[0]) {
			t.Fatalf("opener %d has another root than opener 0", i)
		}
	}
	for name, mode := range map[string]os.FileMode{"": 0o700, certFile: 0o644, keyFile: 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != mode {
			t.Errorf("%q has mode %04o, want %04o", name, got, mode)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 {
		t.Errorf("directory holds %v, want just the two files", entries)
	}
}

func TestRootSurvivesReopening(t *testing.T) {
	dir := t.TempDir()
	clock := newFakeClock()
	first := open(t, dir, clock, 0)
	clock.advance(9 * 365 * 24 * time.Hour)
	second := open(t, dir, clock, 0)
	if !bytes.Equal(first.Roots(), second.Roots()) {
		t.Error("the root changed")
	}
	if want := newFakeClock().Now().Add(RootLifetime); !second.root.cert.NotAfter.Equal(want) {
		t.Errorf("root expires %v, want %v", second.root.cert.NotAfter, want)
	}
}

func TestFirstUseCutOffIsFinished(t *testing.T) {
	dir := t.TempDir()
	clock := newFakeClock()
	open(t, dir, clock, 0)
	key, err := os.ReadFile(filepath.Join(dir, keyFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, certFile)); err != nil {
		t.Fatal(err)
	}
	a := open(t, dir, clock, 0)
	certificate(t, a, sleepID)
	if after, _ := os.ReadFile(filepath.Join(dir, keyFile)); !bytes.Equal(after, key) {
		t.Error("the key that was there has been replaced")
	}
}

func TestSecondRootIsTrustedToo(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	clock := newFakeClock()
	a, b := open(t, dir, clock, 0), open(t, other, clock, 0)
	both := append(a.Roots(), b.Roots()...)
	if err := os.WriteFile(filepath.Join(dir, certFile), both, 0o644); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, clock, 0)
	if !bytes.Equal(again.Roots(), both) {
		t.Error("the bundle is not what the file holds")
	}
	cert, _ := certificate(t, again, sleepID)
	if err := cert.CheckSignatureFrom(a.root.cert); err != nil {
		t.Errorf("leaf is not signed by the first root of the file: %v", err)
	}
}

func TestBrokenDirectories(t *testing.T) {
	keyOf := func(t *testing.T, a string) []byte {
		data, err := os.ReadFile(filepath.Join(a, keyFile))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	put := func(t *testing.T, dir, name string, data []byte, mode os.FileMode) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		spoil func(t *testing.T, dir string, clock *fakeClock)
		want  []string
	}{
		"certificate garbage": {
			func(t *testing.T, dir string, _ *fakeClock) { put(t, dir, certFile, []byte("hello"), 0o644) },
			[]string{certFile, "no PEM block", "remove ca.crt and ca.key"},
		},
		"certificate cut off": {
			func(t *testing.T, dir string, _ *fakeClock) {
				data, _ := os.ReadFile(filepath.Join(dir, certFile))
				put(t, dir, certFile, data[:len(data)/2], 0o644)
			},
			[]string{certFile, "no PEM block"},
		},
		"key garbage": {
			func(t *testing.T, dir string, _ *fakeClock) { put(t, dir, keyFile, []byte("hello"), 0o600) },
			[]string{keyFile, "no PEM block", "remove ca.crt and ca.key"},
		},
		"key empty": {
			func(t *testing.T, dir string, _ *fakeClock) { put(t, dir, keyFile, nil, 0o600) },
			[]string{keyFile, "no PEM block"},
		},
		"key of another root": {
			func(t *testing.T, dir string, clock *fakeClock) {
				other := t.TempDir()
				open(t, other, clock, 0)
				put(t, dir, keyFile, keyOf(t, other), 0o600)
			},
			[]string{certFile, "does not belong to the key in ca.key"},
		},
		"key missing": {
			func(t *testing.T, dir string, _ *fakeClock) {
				if err := os.Remove(filepath.Join(dir, keyFile)); err != nil {
					t.Fatal(err)
				}
			},
			[]string{keyFile, "no such file", "remove ca.crt and ca.key"},
		},
		"key readable by the group": {
			func(t *testing.T, dir string, _ *fakeClock) { put(t, dir, keyFile, keyOf(t, dir), 0o640) },
			[]string{keyFile, "mode 0640", "chmod 0600"},
		},
		"directory writable by all": {
			func(t *testing.T, dir string, _ *fakeClock) {
				if err := os.Chmod(dir, 0o777); err != nil {
					t.Fatal(err)
				}
			},
			[]string{"mode 0777", "chmod go-w"},
		},
		"root expired": {
			func(_ *testing.T, _ string, clock *fakeClock) { clock.advance(RootLifetime + time.Hour) },
			[]string{certFile, "expired at 2032-", "new certificate"},
		},
		"root from the future": {
			func(_ *testing.T, _ string, clock *fakeClock) { clock.advance(-48 * time.Hour) },
			[]string{certFile, "not valid before"},
		},
		"a leaf instead of a root": {
			func(t *testing.T, dir string, clock *fakeClock) {
				chain, key, err := open(t, dir, clock, 0).Certificate(sleepID)
				if err != nil {
					t.Fatal(err)
				}
				put(t, dir, certFile, chain, 0o644)
				put(t, dir, keyFile, key, 0o600)
			},
			[]string{certFile, "not a certificate authority's"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir, clock := t.TempDir(), newFakeClock()
			open(t, dir, clock, 0)
			test.spoil(t, dir, clock)
			_, err := Open(dir, Options{TrustDomain: "cluster.local", Clock: clock})
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range append(test.want, dir) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
}

func TestOtherTrustDomain(t *testing.T) {
	dir, clock := t.TempDir(), newFakeClock()
	open(t, dir, clock, 0)
	_, err := Open(dir, Options{TrustDomain: "prod.example", Clock: clock})
	if err == nil || !strings.Contains(err.Error(), "root of cluster.local") || !strings.Contains(err.Error(), "another directory") {
		t.Errorf("opening for another trust domain: %v", err)
	}
	if strings.Contains(err.Error(), "remove") {
		t.Errorf("the error advises to remove somebody else's root: %v", err)
	}
}
