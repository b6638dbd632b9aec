// SPDX-License-Identifier: Apache-2.0

// Package csr is the source of certificates on a node of a Kubernetes cluster. It
// makes the keys itself, keeps them in memory, and asks for certificates through
// the cluster's certificates API, where package signer answers.
//
// For each identity that is to be held there is one request at a time: a
// CertificateSigningRequest for a fresh key, answered by a certificate, a denial or
// a failure. Certificates are renewed at about half of their lifetime, each with a
// key of its own; what could not be had is asked for again with growing pauses.
// While the API server or the signer is away, what is held stays in use.
//
// The trust bundle is followed from a ConfigMap.
package csr
