// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestArchivesAreCompleteAndReproducible(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("#!/bin/true"), 0o755); err != nil {
		t.Fatal(err)
	}
	i := Image{Name: "ambient22.test/x:1", Files: map[string]string{"bin/x": program, "bin/a": program}, Entrypoint: []string{"/bin/x"}}
	var archives [2][]byte
	for n := range archives {
		path := filepath.Join(dir, "image.tar")
		if err := i.WriteTar(path); err != nil {
			t.Fatal(err)
		}
		archives[n], _ = os.ReadFile(path)
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("the same files gave different archives")
	}
	files := contents(t, archives[0])
	var index struct {
		Manifests []struct {
			Digest      string
			Annotations map[string]string
		}
	}
	if err := json.Unmarshal(files["index.json"], &index); err != nil {
		t.Fatal(err)
	}
	if len(index.Manifests) != 1 || index.Manifests[0].Annotations[nameAnnotation] != i.Name {
		t.Errorf("index.json names %+v", index)
	}
	if _, ok := files["oci-layout"]; !ok || len(files) != 5 { // + index, manifest, config, layer
		t.Errorf("got %d files: is one an OCI layout's missing?", len(files))
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("left %v, %v, want the program and the archive", entries, err)
	}
}

func TestATreeKeepsLinksAndModes(t *testing.T) {
	dir, tree := t.TempDir(), t.TempDir()
	for name, mode := range map[string]os.FileMode{"usr/sbin/tool": 0o700, "usr/share/doc/text": 0o600} {
		path := filepath.Join(tree, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(name), mode)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("tool", filepath.Join(tree, "usr/sbin/other")); err != nil {
		t.Fatal(err)
	}
	image, err := Image{Name: "x:1", Tree: tree, Path: "/usr/sbin"}.build()
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil || len(config.Config.Env) != 1 || config.Config.Env[0] != "PATH=/usr/sbin" {
		t.Errorf("environment %v, %v", config.Config.Env, err)
	}
	layer, err := Image{Name: "x:1", Tree: tree}.layer()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]tar.Header{
		"usr/sbin/tool":      {Typeflag: tar.TypeReg, Mode: 0o755},
		"usr/share/doc/text": {Typeflag: tar.TypeReg, Mode: 0o644},
		"usr/sbin/other":     {Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: "tool"},
	}
	for r := tar.NewReader(bytes.NewReader(layer)); ; {
		got, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		w := want[got.Name]
		if got.Typeflag != w.Typeflag || got.Mode != w.Mode || got.Linkname != w.Linkname || got.Uid != 0 || !got.ModTime.Equal(time.Unix(0, 0)) {
			t.Errorf("%+v, want %+v", got, w)
		}
		delete(want, got.Name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	if err := (Image{Name: "x:1", Tree: dir + "/none"}).WriteTar(dir + "/x.tar"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing folder: %v", err)
	}
}

func TestAMissingProgramIsNamed(t *testing.T) {
	i := Image{Name: "x", Files: map[string]string{"x": "/nowhere/x"}}
	if err := i.WriteTar(filepath.Join(t.TempDir(), "x.tar")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func contents(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}
