package web

const secret = "a-token-of-some-length"
