# Writes fixtures/rdata: R objects in every way that R writes them, honest ones and such that hold code.
#     Rscript scripts/make_rdata.R
# Written by R 4.2.2. A file whose name begins with "code" holds something that R runs.
dir.create("fixtures/rdata", showWarnings = FALSE)
setwd("fixtures/rdata")
set.seed(1)
keep <- function(x, name, ...) saveRDS(x, paste0(name, ".rds"), ...)
frame <- data.frame(a = c(1.5, NA, 3), b = factor(c("x", "y", "x")), c = I(list(1, "a", TRUE)))
frame$d <- as.Date("2024-01-01") + 0:2
data <- list(frame = frame, m = matrix(1:6, 2, dimnames = list(NULL, c("a", "b", "c"))), z = complex(real = 1, imaginary = 2),
             r = as.raw(1:9), s = c("\u00e9", "a\nb\\\"\t", NA), n = NULL, seq = 1:100000, ds = as.character(1:10), sum = sum)
keep(data, "data_xdr", compress = FALSE)
keep(data, "data_gzip")
keep(data, "data_bzip2", compress = "bzip2")
keep(data, "data_xz", compress = "xz")
keep(data, "data_ascii", ascii = TRUE, compress = FALSE)
keep(frame, "data_version2", version = 2, compress = FALSE)
con <- file("data_native.rds", "wb"); serialize(data, con, xdr = FALSE); close(con)
con <- file("data_hexadecimal.rds", "wb"); writeBin(serialize(data, NULL, ascii = NA), con); close(con)
save(data, frame, file = "data.rda")
save(data, file = "data_ascii.RData", ascii = TRUE, compress = FALSE)
in_function <- function(d) { x <- nrow(d); lm(mpg ~ wt, d) }
keep(in_function(mtcars), "model_of_a_function")  # its frame holds a promise whose value is here
keep(kmeans(iris[, 1:4], 3), "model_kmeans")
keep(arima(lh, order = c(1, 0, 0)), "model_arima")
keep(y ~ x + z, "formula")
forced <- function(x) { y <- x; environment() }
keep(forced(3), "frame_of_a_function")
setClass("P", representation(x = "numeric"))
keep(new("P", x = 1), "s4")
keep(list(as.name("x"), pairlist(u = 1, v = 2), quote(a + b), new.env()), "language")

promised <- new.env()
delayedAssign("a", system("id"), eval.env = globalenv(), assign.env = promised)
keep(promised, "code_promise", compress = FALSE)
keep(promised, "code_promise_ascii", ascii = TRUE, compress = FALSE)
keep(promised, "code_promise_xz", compress = "xz")
unforced <- function(x) environment()
keep(unforced(stop("no")), "code_argument")
keep(function(x) x + 1, "code_function")
keep(compiler::cmpfun(function(x) x + 1), "code_compiled")
keep(glm(am ~ wt, binomial, mtcars)$family, "code_family")
keep(quote(system("id")), "code_call")
keep(list(quote(base::system("id"))), "code_call_of_a_package")
save(promised, file = "code_promise.rda")
