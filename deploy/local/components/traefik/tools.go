//go:build tools

// Package tools makes `go mod tidy` keep what the build of Traefik needs.
package tools

import _ "github.com/traefik/traefik/v3/cmd/traefik"
