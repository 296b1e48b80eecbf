// The registry of the local cluster: CNCF Distribution with the file system as
// its storage and passwords as its guard, and one rule of ours (immutable.go).
// The stock program links the SDKs of three clouds, and takes several times as
// long to build.
package main

import (
	"log"
	"os"

	"github.com/distribution/distribution/v3/registry"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

func main() {
	// A Secret holds a name and a password, Distribution wants their hash.
	if folder := os.Getenv("IRIS_REGISTRY_CREDENTIALS"); folder != "" {
		if err := writeHash(folder, os.Getenv("REGISTRY_AUTH_HTPASSWD_PATH")); err != nil {
			log.Fatalf("the credentials in %s: %v", folder, err)
		}
	}
	if err := registry.RootCmd.Execute(); err != nil {
		os.Exit(1)
	}
}
