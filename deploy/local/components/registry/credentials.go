package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/crypto/bcrypt"
)

// writeHash makes the password file that Distribution reads, from a folder as
// a mounted Secret of type kubernetes.io/basic-auth looks.
func writeHash(folder, target string) error {
	username, err := os.ReadFile(filepath.Join(folder, "username"))
	if err != nil {
		return err
	}
	password, err := os.ReadFile(filepath.Join(folder, "password"))
	if err != nil {
		return err
	}
	if len(username) == 0 || len(password) == 0 {
		return errors.New("the name or the password is empty")
	}
	// Every request is checked anew, at the price of one hash. The password is
	// random and 32 bytes long: a dear hash would protect nothing.
	hash, err := bcrypt.GenerateFromPassword(password, bcrypt.MinCost)
	if err != nil {
		return err
	}
	return os.WriteFile(target, fmt.Appendf(nil, "%s:%s\n", username, hash), 0o600)
}
