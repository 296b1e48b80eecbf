//go:build tools

// Package tools makes `go mod tidy` keep what the build of kubeconform needs.
package tools

import _ "github.com/yannh/kubeconform/cmd/kubeconform"
