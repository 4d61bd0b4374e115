// Package auth says who sends a request and what they may do. It knows the
// form of API keys, what is stored of them and how one is verified, but not
// where they are stored, nor routes and how an error looks on the wire.
//
// A key is an id and a secret. The id is public: lists, logs and errors show
// it. The secret is shown once, to whoever has the key made; of it only a hash
// is stored, and nothing here returns it, prints it or puts it into an error.
package auth
