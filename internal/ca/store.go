// SPDX-License-Identifier: Apache-2.0

package ca

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"golang.org/x/sys/unix"
)

// The files of the directory.
const (
	certFile = "ca.crt"
	keyFile  = "ca.key"
)

// startOver is the way out that always works, and its price.
const startOver = "restore it, or remove " + certFile + " and " + keyFile +
	" and restart every controller that shares the directory: they make a new root, and every workload gets a new certificate"

// openRoot loads or creates the root while it holds the directory's lock, so
// that a second process can't look between the writing of the two files.
func openRoot(dir string, domain spiffeid.TrustDomain, now time.Time) (*root, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating the authority's directory: %w", err)
	}
	unlock, err := lock(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := checkMode(dir, 0o022, "chmod go-w"); err != nil {
		return nil, err
	}
	if err := create(dir, domain, now); err != nil {
		return nil, err
	}
	return load(dir, domain, now)
}

// lock takes the directory's own lock; the kernel drops it with the process,
// however that ends, and it leaves no file behind.
func lock(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the authority's directory: %w", err)
	}
	for {
		err = unix.Flock(int(d.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	return func() { d.Close() }, nil
}

// create writes what is missing: both files on first use, the certificate alone
// where an earlier first use was cut off after the key. The key comes first, so
// a certificate without a key is never our own doing and is not touched.
func create(dir string, domain spiffeid.TrustDomain, now time.Time) error {
	haveCert, err := exists(filepath.Join(dir, certFile))
	if err != nil {
		return err
	}
	haveKey, err := exists(filepath.Join(dir, keyFile))
	if err != nil {
		return err
	}
	if haveCert {
		if !haveKey {
			return fmt.Errorf("loading %s: no such file, but %s is there: %s", filepath.Join(dir, keyFile), certFile, startOver)
		}
		return nil
	}
	if !haveKey {
		_, keyPEM, err := newKey()
		if err != nil {
			return err
		}
		if err := write(dir, keyFile, keyPEM, 0o600); err != nil {
			return err
		}
	}
	r := &root{}
	if err := r.loadKey(dir); err != nil {
		return err
	}
	certPEM, err := signRoot(r.key, domain, now, RootLifetime)
	if err != nil {
		return err
	}
	return write(dir, certFile, certPEM, 0o644)
}

// load reads both files and checks that they belong together and to domain.
func load(dir string, domain spiffeid.TrustDomain, now time.Time) (*root, error) {
	r := &root{}
	if err := r.loadKey(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, certFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the root: %w", err)
	}
	certs, bundle, err := parseBundle(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w: %s", path, err, startOver)
	}
	r.cert, r.bundlePEM = certs[0], bundle
	err = r.check(domain, now)
	if errors.Is(err, errOtherDomain) {
		return nil, fmt.Errorf("checking %s: %w: choose that trust domain, or another directory for this one", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("checking %s: %w: %s", path, err, startOver)
	}
	return r, nil
}

// loadKey reads ca.key, which nobody but its owner may be able to read: who has
// it can be any workload of the mesh.
func (r *root) loadKey(dir string) error {
	path := filepath.Join(dir, keyFile)
	if err := checkMode(path, 0o077, "chmod 0600"); err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the root key: %w", err)
	}
	if r.key, err = parseKey(data); err != nil {
		return fmt.Errorf("reading %s: %w: %s", path, err, startOver)
	}
	return nil
}

// checkMode refuses a path on which any of the forbidden bits is set.
func checkMode(path string, forbidden fs.FileMode, remedy string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("looking at the authority's files: %w", err)
	}
	if mode := info.Mode().Perm(); mode&forbidden != 0 {
		return fmt.Errorf("checking %s: mode %04o gives others more than they may have: run %s %s", path, mode, remedy, path)
	}
	return nil
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking at the authority's files: %w", err)
	}
	return true, nil
}

// write puts a whole file in place or none, also when the machine stops halfway.
func write(dir, name string, data []byte, mode fs.FileMode) error {
	// CreateTemp makes the file 0600, so a key is never readable in between.
	f, err := os.CreateTemp(dir, "."+name+".*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Join(dir, name), err)
	}
	defer os.Remove(f.Name()) // fails once it has been renamed, as it should
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Join(dir, name), err)
	}
	return syncDir(dir)
}

// syncDir makes a rename last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	return nil
}
